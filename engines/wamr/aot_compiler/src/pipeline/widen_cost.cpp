// What merging saves and what it costs, in instructions weighted by the depth of their loops.

#include "widen_cost.h"

using namespace llvm;

namespace iwh {
namespace {

using TTI = TargetTransformInfo;

// LLVM 19 answers with an optional number.
int64_t plain(int64_t cost) { return cost; }
[[maybe_unused]] int64_t plain(std::optional<int64_t> cost) { return *cost; }

int64_t number(InstructionCost cost) { return cost.isValid() ? plain(cost.getValue()) : 1000; }

// The cost of one operation on vectors that are `times` as long.
int64_t operation_cost(const TTI &target, const Instruction &instruction, size_t times) {
  constexpr auto kind = TTI::TCK_RecipThroughput;
  auto *result = wide_type(instruction.getType(), times);
  if (isa<BitCastInst, FreezeInst>(instruction)) return 0;
  if (isa<BinaryOperator, UnaryOperator>(instruction))
    return number(target.getArithmeticInstrCost(instruction.getOpcode(), result, kind));
  if (auto *cast = dyn_cast<CastInst>(&instruction))
    return number(target.getCastInstrCost(
        cast->getOpcode(), result, wide_type(cast->getSrcTy(), times), TTI::CastContextHint::None,
        kind));
  auto *call = dyn_cast<CallInst>(&instruction);
  if (!call || wide_target_intrinsic(call->getIntrinsicID(), 2)) return 1;
  SmallVector<Type *, 3> arguments;
  for (const Use &argument : call->args())
    arguments.push_back(argument->getType()->isVectorTy() ? wide_type(argument->getType(), times)
                                                          : argument->getType());
  IntrinsicCostAttributes attributes(call->getIntrinsicID(), result, arguments);
  return number(target.getIntrinsicInstrCost(attributes, kind));
}

// Whether each 128 bits of a shuffle come from the same 128 bits of its source.
bool stays_in_lanes(const Group &group, unsigned element_bits) {
  int lanes = 128 / element_bits;
  for (size_t position = 0; position < group.mask.size(); position++)
    if (group.mask[position] >= 0 &&
        group.mask[position] / lanes != static_cast<int>(position) / lanes)
      return false;
  return true;
}

bool is_identity(const Group &group) {
  for (size_t position = 0; position < group.mask.size(); position++)
    if (group.mask[position] != static_cast<int>(position)) return false;
  return true;
}

int64_t shuffle_cost(const Group &group) {
  auto *type = cast<FixedVectorType>(group.parts[0]->getType());
  unsigned bits = type->getElementType()->getPrimitiveSizeInBits();
  if (is_identity(group)) return 0;
  bool one_source = group.operands.size() == 1;
  if (one_source && bits >= 8 && bits <= 64 && stays_in_lanes(group, bits)) return 1;
  return bits >= 32 ? 1 : bits == 16 ? 2 : 3;
}

// Whether it is judged together with its operands: merged, or an order of a merged one's parts.
bool is_node(const Group &group) {
  return group.merged() || (group.kind == GroupKind::Permute && group.operands[0]->merged());
}

// Whether a narrow instruction takes it from memory at no cost, a splat included.
bool is_from_memory(const Value *value) {
  while (isa<ShuffleVectorInst, BitCastInst>(value)) value = cast<User>(value)->getOperand(0);
  if (auto *insert = dyn_cast<InsertElementInst>(value)) value = insert->getOperand(1);
  return isa<LoadInst>(value);
}

}  // namespace

size_t Selection::component(size_t index) {
  while (parents[index] != index) index = parents[index] = parents[parents[index]];
  return index;
}

void Selection::connect() {
  auto &groups = graph.all();
  parents.clear();
  inner_uses.clear();
  for (size_t index = 0; index < groups.size(); index++) {
    indices[groups[index].get()] = index;
    parents.push_back(index);
  }
  for (auto &group : groups) {
    if (!is_node(*group)) continue;
    for (Group *operand : group->operands) {
      if (!operand || !is_node(*operand)) continue;
      parents[component(indices[operand])] = component(indices[group.get()]);
      const Group *source = operand->kind == GroupKind::Permute ? operand->operands[0] : operand;
      if (!group->merged() || !source->merged()) continue;
      for (Value *user : group->parts)
        for (Value *part : source->parts) inner_uses.insert({cast<User>(user), part});
    }
  }
}

int64_t Selection::weight(const BasicBlock *block) const {
  return int64_t{1} << (3 * std::min(loops.getLoopDepth(block), 4u));
}

// What does not change in a loop is put together outside of it.
int64_t Selection::leaf_weight(const Group &group) const {
  int64_t most = 1;
  for (Value *part : group.parts)
    if (auto *instruction = dyn_cast<Instruction>(part))
      most = std::max(most, weight(instruction->getParent()));
  return most;
}

int64_t Selection::leaf_cost(const Group &group) const {
  switch (group.kind) {
    case GroupKind::Repeat:
    case GroupKind::Permute:
      return shuffle_cost(group);
    case GroupKind::Constant:
    case GroupKind::Splat:
    case GroupKind::Single:
      return 0;
    case GroupKind::Splats: {
      // One load each, as in the narrow operations, and all but one are blended in.
      SmallPtrSet<Value *, 4> scalars;
      for (Value *part : group.parts) scalars.insert(splat_scalar(part));
      return 2 * static_cast<int64_t>(scalars.size()) - 1;
    }
    default:
      return static_cast<int64_t>(group.parts.size()) - 1 +
             count_if(group.parts, [](Value *part) { return is_from_memory(part); });
  }
}

int64_t Selection::saving(const Group &group) const {
  int64_t count = group.parts.size();
  switch (group.kind) {
    case GroupKind::Operation:
      if (isa<CmpInst, SelectInst>(group.first())) return count - 1;
      return count * operation_cost(target, *group.first(), 1) -
             operation_cost(target, *group.first(), count);
    case GroupKind::Load:
    case GroupKind::Store:
      return count - 1;
    case GroupKind::Shuffle:
      return count - shuffle_cost(group);
    default:
      return 0;
  }
}

// Parts that something else uses have to be taken out of the wide value; the first costs nothing.
int64_t Selection::extraction_cost(const Group &group) const {
  int64_t cost = 0;
  for (size_t part = 1; part < group.parts.size(); part++)
    cost += any_of(group.parts[part]->users(), [&](const User *user) {
      return !inner_uses.count({user, group.parts[part]});
    });
  return cost;
}

void Selection::drop_unprofitable() {
  connect();
  auto &groups = graph.all();
  std::vector<int64_t> balance(groups.size());
  std::vector<bool> counted(groups.size());
  for (size_t index = 0; index < groups.size(); index++) {
    Group &group = *groups[index];
    if (!is_node(group)) continue;
    int64_t &sum = balance[component(index)];
    if (group.merged()) sum += weight(group.block()) * (saving(group) - extraction_cost(group));
    else sum -= leaf_weight(group) * leaf_cost(group);
    for (Group *operand : group.operands) {
      if (!operand || is_node(*operand) || counted[indices[operand]]) continue;
      counted[indices[operand]] = true;
      sum -= leaf_weight(*operand) * leaf_cost(*operand);
    }
  }
  for (size_t index = 0; index < groups.size(); index++)
    if (balance[component(index)] <= 0) groups[index]->dropped = true;
}

}  // namespace iwh
