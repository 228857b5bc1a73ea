#ifndef IREE_WASM_HAL_WAMR_AOTC_WIDEN_EMIT_H_
#define IREE_WASM_HAL_WAMR_AOTC_WIDEN_EMIT_H_

#include <llvm/IR/IRBuilder.h>

#include "widen_graph.h"
#include "widen_schedule.h"

namespace iwh {

// Replaces the parts of the groups that were not dropped. Blocks come in reverse post-order.
class Emitter {
 public:
  explicit Emitter(Graph &graph) : graph(graph) {}

  void emit_block(llvm::BasicBlock &block, const std::vector<llvm::Instruction *> &order);
  void finish();

 private:
  Group *live_owner(const llvm::Value *value) const;
  void emit(Group &group);
  llvm::Value *emit_operation(Group &group, llvm::IRBuilder<> &builder);
  llvm::Value *emit_call(Group &group, llvm::IRBuilder<> &builder);
  llvm::Value *emit_access(Group &group, llvm::IRBuilder<> &builder);
  llvm::Value *operand(Group &group, unsigned index, llvm::IRBuilder<> &builder);
  llvm::Value *value_of(Group &group, llvm::IRBuilder<> &builder);
  llvm::Value *make_leaf(Group &group, llvm::IRBuilder<> &builder);
  llvm::Value *make_splats(Group &group, llvm::IRBuilder<> &builder);
  void complete_phi(Group &group);
  void extract_parts(Group &group);

  Graph &graph;
  std::vector<Group *> emitted;
  llvm::DenseMap<std::pair<Group *, llvm::BasicBlock *>, llvm::Value *> leaves;
  llvm::DenseSet<const llvm::User *> replaced;
};

}  // namespace iwh

#endif
