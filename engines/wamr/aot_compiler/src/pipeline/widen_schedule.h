#ifndef IREE_WASM_HAL_WAMR_AOTC_WIDEN_SCHEDULE_H_
#define IREE_WASM_HAL_WAMR_AOTC_WIDEN_SCHEDULE_H_

#include <llvm/Analysis/AliasAnalysis.h>

#include "widen_graph.h"

namespace iwh {

// An order of a block's instructions, without phis and terminator, in which the parts of each
// group follow one another.
struct Schedule {
  std::vector<llvm::Instruction *> order;
  llvm::SmallPtrSet<Group *, 8> stuck;  // groups that no order exists for
};

Schedule schedule(
    llvm::BasicBlock &block, Graph &graph, llvm::AAResults &aliases,
    const llvm::DataLayout &layout);

}  // namespace iwh

#endif
