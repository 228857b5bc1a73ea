"""What three compiler releases can import is served under their calling conventions.

The table was read from the import declarations inside each release's compiler library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.vm.modules.check import CheckModule
from iree_wasm_hal.vm.modules.hal.channels import COLLECTIVES
from iree_wasm_hal.vm.modules.hal.module import HalModule
from iree_wasm_hal.vm.modules.io_parameters.module import IoParametersModule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.vm.native import PyModule

# Import, calling convention, releases that emit it (3.11, 3.12, 3.13).
IMPORTS = """
check.expect_all_true 0rr_v 311,312,313
check.expect_almost_eq 0rrrff_v 311,312,313
check.expect_eq 0rrr_v 311,312,313
check.expect_false 0i_v 311,312,313
check.expect_true 0i_v 311,312,313
hal.allocator.allocate 0rIiiI_r 311,312,313
hal.allocator.import 0riIiirII_r 311,312,313
hal.allocator.select 0iiICrID_rI 311,312,313
hal.buffer.allocation.discard 0r_i 311,312,313
hal.buffer.allocation.is_terminal 0r_i 311,312,313
hal.buffer.allocation.preserve 0r_v 311,312,313
hal.buffer.assert 0rrrIii_v 311,312,313
hal.buffer.length 0r_I 311,312,313
hal.buffer.load 0rIi_i 311,312,313
hal.buffer.store 0irIi_v 311,312,313
hal.buffer.subspan 0rII_r 311,312,313
hal.buffer_view.assert 0rriiCID_v 311,312,313
hal.buffer_view.buffer 0r_r 311,312,313
hal.buffer_view.create 0rIIiiCID_r 311,312,313
hal.buffer_view.dim 0ri_I 311,312,313
hal.buffer_view.element_type 0r_i 311,312,313
hal.buffer_view.encoding_type 0r_i 311,312,313
hal.buffer_view.rank 0r_i 311,312,313
hal.buffer_view.trace 0rCrD_v 311,312,313
hal.channel.create 0rIIrrii_r 311,312,313
hal.channel.rank_and_count 0r_ii 311,312,313
hal.channel.split 0riiI_r 311,312,313
hal.command_buffer.advise_buffer 0rrIIIi_v 311,312,313
hal.command_buffer.begin_debug_group 0rr_v 311,312,313
hal.command_buffer.collective 0rriiiirrIIIII_v 311,312,313
hal.command_buffer.copy_buffer 0riirIrIII_v 311,312,313
hal.command_buffer.create 0riiIi_r 311,312,313
hal.command_buffer.dispatch 0rrIiiiICiDCiirIID_v 312,313
hal.command_buffer.dispatch 0rriiiiICiDCiirIID_v 311
hal.command_buffer.dispatch.indirect 0rrIirIICiDCiirIID_v 312,313
hal.command_buffer.dispatch.indirect 0rriirIICiDCiirIID_v 311
hal.command_buffer.end_debug_group 0r_v 311,312,313
hal.command_buffer.execution_barrier 0riiI_v 311,312,313
hal.command_buffer.fill_buffer 0rrIIiIiI_v 311,312,313
hal.command_buffer.finalize 0r_v 311,312,313
hal.command_buffer.flush_buffer 0rirII_v 313
hal.command_buffer.invalidate_buffer 0rirII_v 313
hal.command_buffer.update_buffer 0rrIrIIiI_v 311,312,313
hal.device.allocator 0r_r 311,312,313
hal.device.query.i64 0rrr_iI 311,312,313
hal.device.queue.alloca 0rIrrIiiII_r 311,312,313
hal.device.queue.barrier 0rIrrI_v 311,312,313
hal.device.queue.copy 0rIrrrIrIII_v 311,312,313
hal.device.queue.dealloca 0rIrrrI_v 311,312,313
hal.device.queue.execute 0rIrrrI_v 311,312,313
hal.device.queue.execute.indirect 0rIrrrICrIID_v 311,312,313
hal.device.queue.fill 0rIrrrIIIiI_v 311,312,313
hal.device.queue.flush 0rI_v 311,312,313
hal.device.queue.read 0rIrrrIrIII_v 311,312,313
hal.device.queue.update 0rIrrrIrIII_v 311,312,313
hal.device.queue.write 0rIrrrIrIII_v 311,312,313
hal.devices.count 0v_i 311,312,313
hal.devices.get 0i_r 311,312,313
hal.ex.file.from_memory 0rIirIIi_r 311,312,313
hal.executable.create 0rIrrr_r 311,312,313
hal.executable.lookup.function 0rr_I 312,313
hal.fence.await 0iICrD_i 311,312,313
hal.fence.create 0rI_r 311,312,313
hal.fence.fail 0ri_v 311,312,313
hal.fence.join 0ICrD_r 311,312,313
hal.fence.query 0r_i 311,312,313
hal.fence.signal 0r_v 311,312,313
io_parameters.gather 0rIrrrrrrr_v 311,312,313
io_parameters.load 0rIrrrIiirrr_r 311,312,313
io_parameters.scatter 0rIrrrrrrr_v 311,312,313
"""
ROWS = [line.split() for line in IMPORTS.strip().splitlines()]
COUNTS = {"311": 57, "312": 58, "313": 60}


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, PyModule]]:
    engine = iwh.open_engine("wasmtime")
    device = iwh.Device(engine)
    natives = [HalModule(device), IoParametersModule({}), CheckModule()]
    yield {native.name: native for native in natives}
    device.close()
    engine.close()


@pytest.mark.parametrize("release", COUNTS)
def test_every_import_of_a_release_is_served(modules: dict[str, PyModule], release: str) -> None:
    hal_count = 0
    for full_name, convention, releases in ROWS:
        if release not in releases.split(","):
            continue
        module, name = full_name.split(".", 1)
        hal_count += module == "hal"
        if (name, convention) not in COLLECTIVES:
            assert modules[module].lookup(name, convention) is not None, full_name
    assert hal_count == COUNTS[release]


def test_nothing_else_is_served(modules: dict[str, PyModule]) -> None:
    known = {(row[0], row[1]) for row in ROWS}
    for module in modules.values():
        for name, convention in module._functions:
            assert (f"{module.name}.{name}", convention) in known


def test_collectives_are_refused_when_they_are_resolved(modules: dict[str, PyModule]) -> None:
    assert len(COLLECTIVES) == 4
    for name, convention in COLLECTIVES:
        with pytest.raises(iwh.ImportResolutionError, match=f"imports hal.{name}: it communicates"):
            modules["hal"].lookup(name, convention)


def test_versions_and_unknown_conventions(modules: dict[str, PyModule]) -> None:
    assert modules["hal"].version == 7
    assert modules["hal"].lookup("buffer.length", "0rr_I") is None
    assert modules["hal"].served_conventions("command_buffer.dispatch") == (
        "0rriiiiICiDCiirIID_v",
        "0rrIiiiICiDCiirIID_v",
    )
