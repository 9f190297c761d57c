"""A trained predict as one file, which jax and numpy alone run."""

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jax.errors import InconclusiveDimensionOperation

from mtl_jax import models, stacked, tasks, train
from mtl_jax.deploy import reader
from mtl_jax.deploy import weights as weights_lib
from mtl_jax.errors import unknown_name
from mtl_jax.typing import PyTree

PLATFORMS = ("cpu", "cuda", "tpu")
"""Where an exported program runs."""
TOKENS = "tokens"
"""The input whose second axis may have any length."""


def export_predict(
    model: models.Model,
    state: Any,
    task_list: Sequence[tasks.Task],
    example: PyTree,
    path: str | os.PathLike[str],
    *,
    task_names: Sequence[str] | None = None,
    weights: str = "float32",
    platforms: Sequence[str] = PLATFORMS,
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write what a trained model says of inputs as a program.

    The file is a zip: `predict.stablehlo`, the program (`jax.export`), for any number
    of examples and, where the trunk can (a BiLSTM, a bag of embeddings), texts of any
    length, else of that of the example; `weights/NAME.npy`; `model.json`; and
    `mtl_exported.py`, the reader, which needs nothing of this library. Heads of tasks
    that were not asked for are in neither program nor weights. Narrow weights become
    as wide as in the model where they are used: they save memory, not operations.

    jax reads programs of older versions for six months at least, and newer ones are
    refused with an error: export again where jax is much newer.

    Args:
        model: the model.
        state: with trained `shared`, `specific` and `collections`.
        task_list: its tasks.
        example: inputs `[1, ...]` or their shapes, as in training.
        path: of the file.
        task_names: the tasks that it is to predict; default: all.
        weights: "float32", "bfloat16" or "int8" for matrices and kernels; see
            `weights.packed`.
        platforms: where it is to run.
        known: more about tasks, for `model.json`: kind, names of labels.

    Returns:
        What `model.json` holds: the tasks, the inputs, `weights` with `bytes`,
        `parameters` and `relative_error` (of the changed leaves, the largest).

    Raises:
        ValueError: a task or a kind of weights that there is not, or a model that has
            no program for any number of examples.
        OSError: the file cannot be written.
    """
    task_names = task_names or None
    by_name = {task.name: task for task in task_list}
    for name in task_names or ():
        if name not in by_name:
            raise unknown_name("task of this model", name, by_name)
    chosen = [by_name[name] for name in task_names or by_name]
    trained = {
        "shared": state.shared,
        "specific": state.specific,
        "collections": state.collections,
    }
    apart = stacked.named(jax.device_get(trained))
    leaves, treedef = jax.tree.flatten(apart)
    names = _names(apart)

    def predict(leaves: Sequence[Any], inputs: PyTree) -> dict[str, Any]:
        variables = jax.tree.unflatten(treedef, leaves)
        if task_names is None:
            variables = stacked.stack_like(variables, trained)
        outputs = train.outputs(
            model,
            (variables["shared"], variables["specific"], variables["collections"]),
            inputs,
            task_names,
        )
        found: dict[str, Any] = {}
        for task in chosen:
            out = jnp.asarray(outputs[task.name], jnp.float32)
            found[f"{task.name}/outputs"] = out
            for key, value in train.decide(task, out, jnp).items():
                found[f"{task.name}/{key}"] = value
        return found

    # What the chosen tasks read is what is left of the arguments. (With sizes that are
    # left open, all are.)
    specs = [jax.ShapeDtypeStruct(np.shape(a), a.dtype) for a in leaves]
    one = _sized(example, batch="1", length=None)
    kept = jax_export.export(jax.jit(predict))(specs, one)
    read = [i for i in kept.module_kept_var_idx if i < len(leaves)]
    stored: dict[str, np.ndarray] = {}
    errors, count = [0.0], 0
    for i in read:
        array = np.asarray(leaves[i])
        pieces = weights_lib.packed(names[i], array, weights)
        stored |= pieces
        count += array.size
        if list(pieces) != [names[i]]:
            errors.append(weights_lib.relative_error(names[i], array, pieces))

    def program(stored: Mapping[str, Any], inputs: PyTree) -> dict[str, Any]:
        filled: list[Any] = [np.zeros((), np.float32)] * len(leaves)
        for i in set(range(len(leaves))) - set(read):
            filled[i] = jnp.zeros(np.shape(leaves[i]), leaves[i].dtype)
        for i in read:
            leaf = weights_lib.unpacked(names[i], stored)
            filled[i] = leaf.astype(leaves[i].dtype)
        return predict(filled, inputs)

    shapes = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in stored.items()}
    for length in ("length", None):
        inputs = _sized(example, "batch", length)
        try:
            made = _exported(program, platforms, shapes, inputs)
            break
        except _OPEN_SIZES as error:
            if length is None or not isinstance(example, Mapping):
                raise ValueError(
                    f"this model has no program for any number of examples: {error}"
                ) from error
    about = {
        "format": reader.FORMAT,
        "jax": jax.__version__,
        "platforms": list(platforms),
        "tasks": {
            task.name: {
                **_about(task),
                **(known or {}).get(task.name, {}),
                "answers": _answers(made, task.name),
            }
            for task in chosen
        },
        "inputs": _inputs(inputs),
        "weights": {
            "stored_as": weights,
            "parameters": count,
            "bytes": sum(a.nbytes for a in stored.values()),
            "relative_error": max(errors),
        },
    }
    _write(Path(path), made.serialize(), stored, about)
    return about


_OPEN_SIZES = (jax.errors.ConcretizationTypeError, InconclusiveDimensionOperation)
"""What a model raises that asks for a size that is left open."""


def _exported(
    program: Any, platforms: Sequence[str], stored: PyTree, inputs: PyTree
) -> Any:
    try:
        return jax_export.export(jax.jit(program), platforms=list(platforms))(
            stored, inputs
        )
    except NotImplementedError as error:
        raise ValueError(
            f"this model has no program for {', '.join(platforms)}: {error}. Name "
            "fewer platforms"
        ) from error


def _names(tree: PyTree) -> list[str]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in pairs]


def _sized(example: PyTree, batch: str, length: str | None) -> PyTree:
    """Shapes of inputs with so many examples, and texts of such a length.

    Args:
        example: inputs `[1, ...]`, or their shapes.
        batch: a number, or a name: any.
        length: a name: any; `None`: as in the example.
    """
    scope = jax_export.SymbolicScope()

    def one(name: str | None, array: Any) -> jax.ShapeDtypeStruct:
        sizes = [batch, *map(str, array.shape[1:])]
        if name == TOKENS and length is not None:
            sizes[1] = length
        shape = jax_export.symbolic_shape(", ".join([*sizes, ""]), scope=scope)
        return jax.ShapeDtypeStruct(shape, array.dtype)

    if isinstance(example, Mapping):
        return {name: one(name, array) for name, array in example.items()}
    return one(None, example)


def _about(task: tasks.Task) -> dict[str, Any]:
    found: dict[str, Any] = {"loss": task.loss.name, "num_outputs": task.num_outputs}
    if task.units is not None:
        found["units"] = {"mean": task.units[0], "deviation": task.units[1]}
    return found


def _answers(made: Any, task: str) -> dict[str, Any]:
    """Shape and dtype of what is said of a task; "batch" is the number of examples."""
    structs = jax.tree.unflatten(made.out_tree, made.out_avals)
    return {
        key.removeprefix(f"{task}/"): {
            "shape": [n if isinstance(n, int) else str(n) for n in value.shape],
            "dtype": str(value.dtype),
        }
        for key, value in structs.items()
        if key.rpartition("/")[0] == task
    }


def _inputs(inputs: PyTree) -> dict[str, Any]:
    """Shape and dtype of an example, `None` for any length."""
    if isinstance(inputs, Mapping):
        return {name: _inputs(array) for name, array in inputs.items()}
    shape = [n if isinstance(n, int) else None for n in inputs.shape[1:]]
    return {"shape": shape, "dtype": str(inputs.dtype)}


def _write(
    path: Path, program: bytes, stored: Mapping[str, np.ndarray], about: dict[str, Any]
) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(reader.ABOUT, json.dumps(about, indent=2))
            file.writestr(reader.PROGRAM, bytes(program))
            file.writestr("mtl_exported.py", Path(reader.__file__).read_text("utf-8"))
            for name, array in stored.items():
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                file.writestr(f"{reader.WEIGHTS}{name}.npy", buffer.getvalue())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
