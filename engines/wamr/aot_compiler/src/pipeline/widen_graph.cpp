// Finds the groups that a group of stores needs, from the stores up to the loads.

#include "widen_graph.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/Operator.h>

using namespace llvm;

namespace iwh {
namespace {

constexpr unsigned kMaxDepth = 1000;
constexpr size_t kMaxGroups = 50000;

// Operations whose wide form is the same instruction on more lanes.
bool is_lanewise(const Instruction &instruction, unsigned count) {
  if (isa<BinaryOperator, UnaryOperator, CmpInst, SelectInst, FreezeInst>(instruction)) return true;
  if (auto *cast = dyn_cast<CastInst>(&instruction))
    return isa<FixedVectorType>(cast->getSrcTy()) && isa<FixedVectorType>(cast->getDestTy());
  if (auto *call = dyn_cast<CallInst>(&instruction)) return is_lanewise_call(*call, count);
  return false;
}

bool equal_operations(const Instruction &left, const Instruction &right) {
  if (left.getOpcode() != right.getOpcode() || left.getType() != right.getType()) return false;
  if (left.getParent() != right.getParent()) return false;
  if (left.getNumOperands() != right.getNumOperands()) return false;
  for (unsigned index = 0; index < left.getNumOperands(); index++)
    if (left.getOperand(index)->getType() != right.getOperand(index)->getType()) return false;
  if (auto *compare = dyn_cast<CmpInst>(&left))
    return compare->getPredicate() == cast<CmpInst>(right).getPredicate();
  if (auto *call = dyn_cast<CallInst>(&left))
    return call->getCalledOperand() == cast<CallInst>(right).getCalledOperand();
  return true;
}

unsigned likeness(const Value *left, const Value *right) {
  if (left == right) return 4;
  if (isa<Constant>(left) && isa<Constant>(right)) return 2;
  auto *first = dyn_cast<Instruction>(left), *second = dyn_cast<Instruction>(right);
  return first && second && equal_operations(*first, *second) ? 2 : 0;
}

bool is_commutative(const Instruction &instruction) {
  if (instruction.isCommutative()) return true;
  auto *call = dyn_cast<IntrinsicInst>(&instruction);
  return call && call->getIntrinsicID() == Intrinsic::x86_sse2_pmadd_wd;
}

bool is_simple_access(const Value *value) {
  if (auto *load = dyn_cast<LoadInst>(value)) return load->isSimple();
  if (auto *store = dyn_cast<StoreInst>(value)) return store->isSimple();
  return false;
}

template <typename Predicate>
bool all_parts(ArrayRef<Value *> parts, Predicate predicate) {
  return all_of(parts, predicate);
}

}  // namespace

// Bit casts in between are looked through, since wasm's load32_splat is an integer one.
Value *splat_scalar(Value *value) {
  if (auto *cast = dyn_cast<BitCastInst>(value)) value = cast->getOperand(0);
  auto *shuffle = dyn_cast<ShuffleVectorInst>(value);
  if (!shuffle) return nullptr;
  Value *source = shuffle->getOperand(0);
  unsigned lane_bits = source->getType()->getScalarSizeInBits();
  if (auto *cast = dyn_cast<BitCastInst>(source)) source = cast->getOperand(0);
  auto *insert = dyn_cast<InsertElementInst>(source);
  if (!insert) return nullptr;
  auto *lane = dyn_cast<ConstantInt>(insert->getOperand(2));
  unsigned period = source->getType()->getScalarSizeInBits() / lane_bits;
  if (!lane || !lane->isZero() || period == 0) return nullptr;
  for (auto [position, from] : enumerate(shuffle->getShuffleMask()))
    if (from >= 0 && static_cast<unsigned>(from) != position % period) return nullptr;
  return insert->getOperand(1);
}

MemoryPlace memory_place(Value *pointer, const DataLayout &layout) {
  MemoryPlace place;
  while (auto *step = dyn_cast<GEPOperator>(pointer)) {
    APInt offset(64, 0);
    if (step->accumulateConstantOffset(layout, offset)) {
      place.byte_offset += offset.getSExtValue();
      pointer = step->getPointerOperand();
      continue;
    }
    if (step->getNumIndices() != 1 || !step->getSourceElementType()->isIntegerTy(8)) break;
    Value *index = step->getOperand(1);
    if (auto *sum = dyn_cast<BinaryOperator>(index); sum && sum->getOpcode() == Instruction::Add)
      if (auto *number = dyn_cast<ConstantInt>(sum->getOperand(1))) {
        place.byte_offset += number->getSExtValue();
        index = sum->getOperand(0);
      }
    // Extensions of one value are equal even where they are two instructions.
    if (auto *extension = dyn_cast<ZExtInst>(index)) index = extension->getOperand(0);
    place.index = index;
    pointer = step->getPointerOperand();
    break;
  }
  place.base = pointer;
  return place;
}

FixedVectorType *wide_type(Type *type, size_t count) {
  auto *vector = cast<FixedVectorType>(type);
  return FixedVectorType::get(vector->getElementType(), vector->getNumElements() * count);
}

Group *Graph::make(GroupKind kind, Parts parts) {
  auto group = std::make_unique<Group>();
  group->kind = kind;
  group->parts.assign(parts.begin(), parts.end());
  Group *made = group.get();
  groups.push_back(std::move(group));
  known[std::vector<Value *>(parts.begin(), parts.end())] = made;
  if (made->mergeable())
    for (Value *part : parts) owners[part] = made;
  return made;
}

bool Graph::fits(Type *type, size_t times) const {
  auto *vector = dyn_cast<FixedVectorType>(type);
  return vector && vector->getPrimitiveSizeInBits().getFixedValue() * times <= bit_width;
}

bool Graph::add_stores(Parts stores) {
  Type *type = cast<StoreInst>(stores[0])->getValueOperand()->getType();
  if (!fits(type, stores.size())) return false;
  SmallVector<Value *, 4> values;
  for (Value *store : stores) values.push_back(cast<StoreInst>(store)->getValueOperand());
  Group *group = make(GroupKind::Store, stores);
  group->operands.push_back(build(values));
  return true;
}

bool Graph::add_phis(Parts phis) {
  if (!fits(phis[0]->getType(), phis.size())) return false;
  if (any_of(phis, [&](Value *phi) { return owner(phi); })) return false;
  return build_phis(phis)->mergeable();
}

namespace {

bool are_splats(ArrayRef<Value *> parts) {
  Value *first = splat_scalar(parts[0]);
  return first && all_of(parts, [&](Value *part) {
    Value *scalar = splat_scalar(part);
    return scalar && scalar->getType() == first->getType();
  });
}

}  // namespace

Group *Graph::build(Parts parts) {
  auto found = known.find(std::vector<Value *>(parts.begin(), parts.end()));
  if (found != known.end()) return found->second;
  if (all_parts(parts, [](Value *part) { return isa<Constant>(part); }))
    return make(GroupKind::Constant, parts);
  if (all_parts(parts, [&](Value *part) { return part == parts[0]; }))
    return build_same(parts[0], parts);
  if (are_splats(parts)) return make(GroupKind::Splats, parts);
  if (depth < kMaxDepth && groups.size() < kMaxGroups) {
    depth++;
    Group *group = build_instructions(parts);
    depth--;
    if (group) return group;
  }
  return make(GroupKind::Gather, parts);
}

Group *Graph::build_instructions(Parts parts) {
  if (!all_parts(parts, [](Value *part) { return isa<Instruction>(part); })) return nullptr;
  if (any_of(parts, [&](Value *part) { return owner(part); })) return build_permutation(parts);
  SmallPtrSet<Value *, 4> distinct(parts.begin(), parts.end());
  if (distinct.size() != parts.size() || !fits(parts[0]->getType(), parts.size())) return nullptr;
  auto *first = cast<Instruction>(parts[0]);
  for (Value *part : parts)
    if (!equal_operations(*first, *cast<Instruction>(part))) return nullptr;
  if (isa<LoadInst>(first)) return build_loads(parts);
  if (isa<PHINode>(first)) return build_phis(parts);
  if (isa<ShuffleVectorInst>(first)) return build_shuffles(parts);
  return is_lanewise(*first, parts.size()) ? build_operation(parts) : nullptr;
}

Group *Graph::build_same(Value *value, Parts parts) {
  if (Value *scalar = splat_scalar(value)) {
    Group *group = make(GroupKind::Splat, parts);
    group->scalar = scalar;
    return group;
  }
  Group *group = make(GroupKind::Repeat, parts);
  group->scalar = value;
  auto *shuffle = dyn_cast<ShuffleVectorInst>(value);
  if (shuffle && isa<UndefValue>(shuffle->getOperand(1))) group->scalar = shuffle->getOperand(0);
  unsigned lanes = cast<FixedVectorType>(value->getType())->getNumElements();
  for (size_t part = 0; part < parts.size(); part++)
    for (unsigned lane = 0; lane < lanes; lane++)
      group->mask.push_back(group->scalar == value ? lane : shuffle->getMaskValue(lane));
  return group;
}

// Parts of one merged group, whichever order they are in.
Group *Graph::build_permutation(Parts parts) {
  Group *source = owner(parts[0]);
  for (Value *part : parts)
    if (!source || owner(part) != source) return nullptr;
  Group *group = make(GroupKind::Permute, parts);
  group->operands.push_back(source);
  unsigned lanes = cast<FixedVectorType>(parts[0]->getType())->getNumElements();
  for (Value *part : parts) {
    size_t position = find(source->parts, part) - source->parts.begin();
    for (unsigned lane = 0; lane < lanes; lane++) group->mask.push_back(position * lanes + lane);
  }
  return group;
}

Group *Graph::build_loads(Parts parts) {
  if (!all_parts(parts, is_simple_access)) return nullptr;
  SmallVector<std::pair<int64_t, Value *>, 4> places;
  MemoryPlace first = memory_place(cast<LoadInst>(parts[0])->getPointerOperand(), layout);
  for (Value *part : parts) {
    MemoryPlace place = memory_place(cast<LoadInst>(part)->getPointerOperand(), layout);
    if (!place.same_object(first)) return nullptr;
    places.push_back({place.byte_offset, part});
  }
  llvm::sort(places, llvm::less_first());
  int64_t byte_length = layout.getTypeStoreSize(parts[0]->getType()).getFixedValue();
  SmallVector<Value *, 4> sorted;
  for (auto &[offset, part] : places) {
    int64_t position = sorted.size();
    if (offset != places[0].first + byte_length * position) return nullptr;
    sorted.push_back(part);
  }
  Group *group = make(GroupKind::Load, sorted);
  return ArrayRef<Value *>(sorted) == parts ? group : build_permutation(parts);
}

Group *Graph::build_phis(Parts parts) {
  auto *first = cast<PHINode>(parts[0]);
  for (Value *part : parts)
    for (BasicBlock *from : first->blocks())
      if (cast<PHINode>(part)->getBasicBlockIndex(from) < 0) return nullptr;
  Group *group = make(GroupKind::Phi, parts);
  for (BasicBlock *from : first->blocks()) {
    SmallVector<Value *, 4> incoming;
    for (Value *part : parts)
      incoming.push_back(cast<PHINode>(part)->getIncomingValueForBlock(from));
    group->operands.push_back(build(incoming));
  }
  return group;
}

// Shuffles become one whose lanes are counted through the concatenated sources.
Group *Graph::build_shuffles(Parts parts) {
  Group *group = make(GroupKind::Shuffle, parts);
  auto *first = cast<ShuffleVectorInst>(parts[0]);
  int lanes = cast<FixedVectorType>(first->getOperand(0)->getType())->getNumElements();
  bool binary =
      any_of(parts, [](Value *part) { return !isa<UndefValue>(cast<User>(part)->getOperand(1)); });
  SmallVector<Value *, 4> sources[2];
  SmallVector<unsigned, 4> position[2];
  for (unsigned side = 0; side < (binary ? 2u : 1u); side++)
    for (Value *part : parts) {
      Value *source = cast<User>(part)->getOperand(side);
      auto found = find(sources[side], source);
      bool reuse = !binary && found != sources[side].end();
      position[side].push_back(reuse ? found - sources[side].begin() : sources[side].size());
      if (!reuse) sources[side].push_back(source);
    }
  // A vector of three sources would not be a power of two.
  if (sources[0].size() == 3) sources[0].push_back(sources[0].back());
  int wide_lanes = lanes * sources[0].size();
  for (size_t part = 0; part < parts.size(); part++)
    for (int lane : cast<ShuffleVectorInst>(parts[part])->getShuffleMask()) {
      int side = lane >= lanes;
      if (lane >= 0 && !binary && side) lane = -1;
      if (lane >= 0) lane = side * wide_lanes + position[side][part] * lanes + lane - side * lanes;
      group->mask.push_back(lane);
    }
  for (auto &side : sources) {
    if (side.empty()) continue;
    group->operands.push_back(side.size() == 1 ? make(GroupKind::Single, side) : build(side));
  }
  return group;
}

Group *Graph::build_operation(Parts parts) {
  auto *first = cast<Instruction>(parts[0]);
  auto *call = dyn_cast<CallInst>(first);
  unsigned operand_count = call ? call->arg_size() : first->getNumOperands();
  SmallVector<SmallVector<Value *, 4>, 3> operands(operand_count);
  for (Value *part : parts) {
    auto *instruction = cast<Instruction>(part);
    SmallVector<Value *, 3> own(instruction->op_begin(), instruction->op_begin() + operand_count);
    if (is_commutative(*first) && part != first) {
      Value *left = operands[0][0], *right = operands[1][0];
      unsigned straight = likeness(left, own[0]) + likeness(right, own[1]);
      unsigned swapped = likeness(left, own[1]) + likeness(right, own[0]);
      if (swapped > straight) std::swap(own[0], own[1]);
    }
    for (unsigned index = 0; index < operand_count; index++) operands[index].push_back(own[index]);
  }
  // A scalar operand (the condition of a select, a flag of an intrinsic) must be the same in all.
  for (auto &operand : operands) {
    if (isa<VectorType>(operand[0]->getType())) continue;
    if (!all_of(operand, [&](Value *value) { return value == operand[0]; })) return nullptr;
  }
  Group *group = make(GroupKind::Operation, parts);
  for (auto &operand : operands)
    group->operands.push_back(isa<VectorType>(operand[0]->getType()) ? build(operand) : nullptr);
  return group;
}

}  // namespace iwh
