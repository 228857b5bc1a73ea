// What the widening pass is about to do: a graph of groups.
//
// A group stands for `count` equal operations on small vectors ("parts"), which become one
// operation on a vector of their concatenated lanes. Its operands are groups again, down to
// loads, constants and values that have to be put together from their parts.

#ifndef IREE_WASM_HAL_WAMR_AOTC_WIDEN_GRAPH_H_
#define IREE_WASM_HAL_WAMR_AOTC_WIDEN_GRAPH_H_

#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/DataLayout.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/IntrinsicInst.h>

#include <map>
#include <memory>
#include <vector>

namespace iwh {

enum class GroupKind {
  // Mergeable: the parts are instructions that one wide instruction replaces.
  Operation,
  Load,
  Store,
  Phi,
  Shuffle,
  // Not mergeable: the wide value is made from what is there.
  Constant,
  Splat,   // one scalar in all lanes
  Splats,  // a scalar for each part
  Repeat,  // one part, repeated
  Single,  // one part, as it is
  Permute, // parts of one other group, in another order
  Gather,  // parts that have nothing in common
};

struct Group {
  GroupKind kind;
  llvm::SmallVector<llvm::Value *, 4> parts;
  llvm::SmallVector<Group *, 4> operands;
  llvm::SmallVector<int, 64> mask;     // of Shuffle, Repeat and Permute, in lanes
  llvm::Value *scalar = nullptr;       // of Splat; the source of Repeat
  llvm::Value *wide = nullptr;         // of a merged group, once emitted
  bool dropped = false;  // put together from its parts instead

  bool mergeable() const { return kind <= GroupKind::Shuffle; }
  bool merged() const { return mergeable() && !dropped; }
  llvm::Instruction *first() const { return llvm::cast<llvm::Instruction>(parts[0]); }
  llvm::BasicBlock *block() const { return first()->getParent(); }
};

// base + index + byte_offset; equal bases and indices can be compared.
struct MemoryPlace {
  llvm::Value *base = nullptr;
  llvm::Value *index = nullptr;
  int64_t byte_offset = 0;

  bool same_object(const MemoryPlace &other) const {
    return base == other.base && index == other.index;
  }
};
MemoryPlace memory_place(llvm::Value *pointer, const llvm::DataLayout &layout);

// The scalar that fills all lanes of a vector, or null. It can be as long as several lanes.
llvm::Value *splat_scalar(llvm::Value *value);

// The vector of `count` times the lanes of `type`.
llvm::FixedVectorType *wide_type(llvm::Type *type, size_t count);

// The intrinsic that does for `bit_width` bits what the 128-bit one does; 0 if there is none.
llvm::Intrinsic::ID wide_target_intrinsic(llvm::Intrinsic::ID id, unsigned count);

// Whether a call can be widened by widening its vector operands.
bool is_lanewise_call(const llvm::CallInst &call, unsigned count);

class Graph {
 public:
  Graph(const llvm::DataLayout &layout, unsigned count, unsigned bit_width)
      : layout(layout), count(count), bit_width(bit_width) {}

  // Adds a group of stores to neighbouring places, with all that it needs. False if it cannot be.
  bool add_stores(llvm::ArrayRef<llvm::Value *> stores);
  bool add_phis(llvm::ArrayRef<llvm::Value *> phis);

  // The merged group that an instruction belongs to, or null.
  Group *owner(const llvm::Value *value) const { return owners.lookup(value); }
  std::vector<std::unique_ptr<Group>> &all() { return groups; }

 private:
  using Parts = llvm::ArrayRef<llvm::Value *>;
  Group *build(Parts parts);
  Group *build_instructions(Parts parts);
  Group *build_same(llvm::Value *value, Parts parts);
  Group *build_loads(Parts parts);
  Group *build_phis(Parts parts);
  Group *build_shuffles(Parts parts);
  Group *build_operation(Parts parts);
  Group *build_permutation(Parts parts);
  Group *make(GroupKind kind, Parts parts);
  void add_operands(Group &group);
  bool fits(llvm::Type *type, size_t times) const;

  const llvm::DataLayout &layout;
  unsigned count, bit_width;
  unsigned depth = 0;
  std::vector<std::unique_ptr<Group>> groups;
  std::map<std::vector<llvm::Value *>, Group *> known;
  llvm::DenseMap<const llvm::Value *, Group *> owners;
};

}  // namespace iwh

#endif
