#ifndef IREE_WASM_HAL_WAMR_AOTC_WIDEN_COST_H_
#define IREE_WASM_HAL_WAMR_AOTC_WIDEN_COST_H_

#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/TargetTransformInfo.h>

#include "widen_graph.h"

namespace iwh {

// Which groups pay. Those that are connected by their operands are judged together.
class Selection {
 public:
  Selection(Graph &graph, const llvm::TargetTransformInfo &target, const llvm::LoopInfo &loops)
      : graph(graph), target(target), loops(loops) {}

  void drop_unprofitable();

 private:
  void connect();
  int64_t weight(const llvm::BasicBlock *block) const;
  int64_t leaf_weight(const Group &group) const;
  int64_t saving(const Group &group) const;
  int64_t leaf_cost(const Group &group) const;
  int64_t extraction_cost(const Group &group) const;
  size_t component(size_t index);

  Graph &graph;
  const llvm::TargetTransformInfo &target;
  const llvm::LoopInfo &loops;
  llvm::DenseMap<const Group *, size_t> indices;  // of the groups of the graph
  std::vector<size_t> parents;
  llvm::DenseSet<std::pair<const llvm::User *, const llvm::Value *>> inner_uses;
};

}  // namespace iwh

#endif
