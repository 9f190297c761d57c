"""Programs are kept where asked, found again, and nothing is left changed."""

import os
import time

import jax
import jax.numpy as jnp

from mtl_jax import compilation_cache


def test_programs_are_kept_in_the_folder_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv(compilation_cache.ELSEWHERE, str(tmp_path))
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    with compilation_cache.kept("auto") as directory:
        assert directory.is_relative_to(tmp_path)
        jax.jit(lambda x: jnp.sin(x) * 41)(1.0)
        files = set(directory.glob("*-cache"))
        assert files
        jax.clear_caches()
        jax.jit(lambda x: jnp.sin(x) * 41)(1.0)
        assert set(directory.glob("*-cache")) == files
        # One in another directory, given by hand, changes nothing: the first wins.
        with compilation_cache.kept(str(tmp_path / "inner")) as inner:
            assert inner is None
    assert not jax.config.jax_compilation_cache_dir
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before
    old = min(files)
    long_ago = time.time() - (compilation_cache.DAYS + 1) * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    with compilation_cache.kept("auto"):
        assert not old.exists()
        assert set(directory.glob("*-cache")) == files - {old}


def test_nothing_is_kept_where_it_is_off_or_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setenv(compilation_cache.ELSEWHERE, "")
    file = tmp_path / "file"
    file.touch()
    for where in ("off", "auto", str(file)):
        with compilation_cache.kept(where) as directory:
            assert directory is None
            assert not jax.config.jax_compilation_cache_dir
    with compilation_cache.kept(str(tmp_path / "mine")) as directory:
        assert directory == tmp_path / "mine"
