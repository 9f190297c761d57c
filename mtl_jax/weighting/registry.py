"""Every method by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mtl_jax import factories
from mtl_jax.weighting import base
from mtl_jax.weighting.bilevel.auto_lambda import auto_lambda
from mtl_jax.weighting.bilevel.forum import forum
from mtl_jax.weighting.bilevel.moml import moml
from mtl_jax.weighting.gramian_based.aligned_mtl import aligned_mtl
from mtl_jax.weighting.gramian_based.cagrad import cagrad
from mtl_jax.weighting.gramian_based.config import config
from mtl_jax.weighting.gramian_based.cr_mogm import cr_mogm
from mtl_jax.weighting.gramian_based.dualproj import dualproj
from mtl_jax.weighting.gramian_based.fairgrad import fairgrad
from mtl_jax.weighting.gramian_based.gradnorm import gradnorm
from mtl_jax.weighting.gramian_based.gradvac import gradvac
from mtl_jax.weighting.gramian_based.imtl_g import imtl_g
from mtl_jax.weighting.gramian_based.krum import krum
from mtl_jax.weighting.gramian_based.metabalance import metabalance
from mtl_jax.weighting.gramian_based.mgda import mgda
from mtl_jax.weighting.gramian_based.modo import modo
from mtl_jax.weighting.gramian_based.nash_mtl import nash_mtl
from mtl_jax.weighting.gramian_based.pcd import pcd
from mtl_jax.weighting.gramian_based.pcgrad import pcgrad
from mtl_jax.weighting.gramian_based.sdmgrad import sdmgrad
from mtl_jax.weighting.gramian_based.upgrad import upgrad
from mtl_jax.weighting.jacobian_based.db_mtl import db_mtl
from mtl_jax.weighting.jacobian_based.excess_mtl import excess_mtl
from mtl_jax.weighting.jacobian_based.graddrop import graddrop
from mtl_jax.weighting.jacobian_based.moco import moco
from mtl_jax.weighting.jacobian_based.momentum_config import momentum_config
from mtl_jax.weighting.jacobian_based.trimmed_mean import trimmed_mean
from mtl_jax.weighting.loss_based.alternate import alternate
from mtl_jax.weighting.loss_based.bandit import bandit
from mtl_jax.weighting.loss_based.cosmos import cosmos
from mtl_jax.weighting.loss_based.dtp import dtp
from mtl_jax.weighting.loss_based.dwa import dwa
from mtl_jax.weighting.loss_based.equal import equal
from mtl_jax.weighting.loss_based.famo import famo
from mtl_jax.weighting.loss_based.focal import focal
from mtl_jax.weighting.loss_based.gls import gls
from mtl_jax.weighting.loss_based.imtl_l import imtl_l
from mtl_jax.weighting.loss_based.pbi import pbi
from mtl_jax.weighting.loss_based.preference import preference
from mtl_jax.weighting.loss_based.rlw import rlw
from mtl_jax.weighting.loss_based.si import si
from mtl_jax.weighting.loss_based.static import static
from mtl_jax.weighting.loss_based.stch import stch
from mtl_jax.weighting.loss_based.stch_mtl import stch_mtl
from mtl_jax.weighting.loss_based.tchebycheff import tchebycheff
from mtl_jax.weighting.loss_based.uw import uw

METHODS: dict[str, Callable[..., base.AnyMethod]] = {
    # loss-based
    "equal": equal,
    "static": static,
    "uw": uw,
    "dwa": dwa,
    "rlw": rlw,
    "famo": famo,
    "imtl_l": imtl_l,
    "si": si,
    "gls": gls,
    "stch": stch,
    "stch_mtl": stch_mtl,
    "tchebycheff": tchebycheff,
    "cosmos": cosmos,
    "pbi": pbi,
    "preference": preference,
    "dtp": dtp,
    "focal": focal,
    "alternate": alternate,
    "bandit": bandit,
    # Gramian-based
    "mgda": mgda,
    "pcgrad": pcgrad,
    "gradvac": gradvac,
    "imtl_g": imtl_g,
    "config": config,
    "aligned_mtl": aligned_mtl,
    "upgrad": upgrad,
    "dualproj": dualproj,
    "cagrad": cagrad,
    "nash_mtl": nash_mtl,
    "fairgrad": fairgrad,
    "cr_mogm": cr_mogm,
    "gradnorm": gradnorm,
    "sdmgrad": sdmgrad,
    "modo": modo,
    "pcd": pcd,
    "metabalance": metabalance,
    "krum": krum,
    # Jacobian-based
    "graddrop": graddrop,
    "moco": moco,
    "db_mtl": db_mtl,
    "excess_mtl": excess_mtl,
    "momentum_config": momentum_config,
    "trimmed_mean": trimmed_mean,
    # bilevel
    "auto_lambda": auto_lambda,
    "moml": moml,
    "forum": forum,
}
"""Name to factory; the name is the one of the method's paper in snake case."""


def make(name: str, **hyperparameters: Any) -> base.AnyMethod:
    """Build a method by name.

    Args:
        name: a key of `METHODS`.
        **hyperparameters: those of its factory. One that is called `method`, of a
            method that builds on another, may be a name, or a mapping of "name" and
            hyper-parameters, as well as a method.

    Returns:
        The method.

    Raises:
        ValueError: unknown name or hyper-parameter, or one that is missing; the text
            lists the known ones and the nearest match. A `method` of a kind that the
            factory cannot build on.

    Example:
        >>> make("mgda", normalise="l2")
        Traceback (most recent call last):
        ...
        ValueError: unknown hyper-parameter of method 'mgda' 'normalise'. Did you
        mean 'normalize'? Known: normalize.
    """
    known = inspect.signature(METHODS[name]).parameters if name in METHODS else {}
    if "method" not in known or "method" not in hyperparameters:
        return factories.make("method", METHODS, name, hyperparameters)
    within = make_within(name, hyperparameters["method"])
    try:
        return factories.make(
            "method", METHODS, name, {**hyperparameters, "method": within}
        )
    except TypeError as error:  # of another kind; settings can only be wrong in value
        raise ValueError(str(error)) from error


def make_within(outer: str, within: Any, argument: str = "method") -> Any:
    """The method that another one builds on, from its name or a mapping.

    Args:
        outer: who builds on it.
        within: a name, a mapping of "name" and hyper-parameters, or a method.
        argument: what `outer` calls it.

    Raises:
        ValueError: a mapping without a name, or a method that there is not.
    """
    if isinstance(within, str):
        return make(within)
    if not isinstance(within, Mapping):
        return within
    if "name" not in within:
        raise ValueError(
            f"{outer!r} was given {argument}={dict(within)}, which names none; give "
            "{'name': …} and its hyper-parameters, or the name alone"
        )
    return make(**within)
