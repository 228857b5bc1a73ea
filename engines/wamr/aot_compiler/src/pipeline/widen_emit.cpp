// Writes the wide instructions and takes the narrow ones away.

#include "widen_emit.h"

#include <llvm/Analysis/VectorUtils.h>
#include <llvm/IR/Constants.h>

using namespace llvm;

namespace iwh {
namespace {

Constant *concatenate(ArrayRef<Value *> parts) {
  SmallVector<Constant *, 64> lanes;
  for (Value *part : parts) {
    unsigned count = cast<FixedVectorType>(part->getType())->getNumElements();
    for (unsigned lane = 0; lane < count; lane++)
      lanes.push_back(cast<Constant>(part)->getAggregateElement(lane));
  }
  return ConstantVector::get(lanes);
}

bool has_expressions(ArrayRef<Value *> parts) {
  for (Value *part : parts)
    if (!cast<Constant>(part)->getAggregateElement(0u)) return true;
  return false;
}

}  // namespace

Group *Emitter::live_owner(const Value *value) const {
  Group *group = graph.owner(value);
  return group && group->merged() ? group : nullptr;
}

void Emitter::emit_block(BasicBlock &block, const std::vector<Instruction *> &order) {
  for (PHINode &phi : block.phis()) {
    Group *group = live_owner(&phi);
    if (group && group->parts[0] == &phi) {
      group->wide = PHINode::Create(
          wide_type(phi.getType(), group->parts.size()), phi.getNumIncomingValues(), "wide",
          phi.getIterator());
      emitted.push_back(group);
    }
  }
  for (Instruction *instruction : order)
    instruction->moveBefore(block, block.getTerminator()->getIterator());
  for (Instruction *instruction : order) {
    Group *group = live_owner(instruction);
    // The parts follow one another, in order.
    if (group && group->parts[0] == instruction) emit(*group);
  }
}

void Emitter::emit(Group &group) {
  IRBuilder<> builder(group.first());
  emitted.push_back(&group);
  switch (group.kind) {
    case GroupKind::Load:
    case GroupKind::Store:
      group.wide = emit_access(group, builder);
      break;
    case GroupKind::Shuffle: {
      Value *left = operand(group, 0, builder);
      group.wide = group.operands.size() == 1
                       ? builder.CreateShuffleVector(left, group.mask)
                       : builder.CreateShuffleVector(left, operand(group, 1, builder), group.mask);
      break;
    }
    default:
      group.wide = isa<CallInst>(group.first()) ? emit_call(group, builder)
                                                : emit_operation(group, builder);
  }
  auto *wide = dyn_cast<Instruction>(group.wide);
  if (group.kind != GroupKind::Operation || !wide) return;
  wide->copyIRFlags(group.first());
  for (Value *part : group.parts) wide->andIRFlags(part);
}

Value *Emitter::emit_access(Group &group, IRBuilder<> &builder) {
  if (auto *load = dyn_cast<LoadInst>(group.first()))
    return builder.CreateAlignedLoad(
        wide_type(load->getType(), group.parts.size()), load->getPointerOperand(),
        load->getAlign());
  auto *store = cast<StoreInst>(group.first());
  return builder.CreateAlignedStore(
      operand(group, 0, builder), store->getPointerOperand(), store->getAlign());
}

Value *Emitter::emit_operation(Group &group, IRBuilder<> &builder) {
  Instruction *first = group.first();
  Value *left = operand(group, 0, builder);
  if (auto *binary = dyn_cast<BinaryOperator>(first))
    return builder.Insert(
        BinaryOperator::Create(binary->getOpcode(), left, operand(group, 1, builder)));
  if (auto *unary = dyn_cast<UnaryOperator>(first))
    return builder.Insert(UnaryOperator::Create(unary->getOpcode(), left));
  if (auto *cast = dyn_cast<CastInst>(first))
    return builder.Insert(CastInst::Create(
        cast->getOpcode(), left, wide_type(cast->getDestTy(), group.parts.size())));
  if (auto *compare = dyn_cast<CmpInst>(first))
    return builder.Insert(CmpInst::Create(
        compare->getOpcode(), compare->getPredicate(), left, operand(group, 1, builder)));
  if (isa<FreezeInst>(first)) return builder.Insert(new FreezeInst(left));
  return builder.Insert(
      SelectInst::Create(left, operand(group, 1, builder), operand(group, 2, builder)));
}

Value *Emitter::emit_call(Group &group, IRBuilder<> &builder) {
  auto *call = cast<CallInst>(group.first());
  Intrinsic::ID id = call->getIntrinsicID();
  SmallVector<Value *, 3> arguments;
  for (unsigned index = 0; index < call->arg_size(); index++)
    arguments.push_back(operand(group, index, builder));
  if (Intrinsic::ID wide = wide_target_intrinsic(id, group.parts.size()))
    return builder.CreateIntrinsic(wide, {}, arguments);
  SmallVector<Type *, 2> types = {wide_type(call->getType(), group.parts.size())};
  if (id == Intrinsic::fptosi_sat || id == Intrinsic::fptoui_sat)
    types.push_back(arguments[0]->getType());
  return builder.CreateIntrinsic(id, types, arguments);
}

Value *Emitter::operand(Group &group, unsigned index, IRBuilder<> &builder) {
  Group *source = group.operands[index];
  return source ? value_of(*source, builder) : group.first()->getOperand(index);
}

Value *Emitter::value_of(Group &group, IRBuilder<> &builder) {
  if (group.merged()) return group.wide;
  Value *&leaf = leaves[{&group, builder.GetInsertBlock()}];
  if (!leaf) {
    Value *made = make_leaf(group, builder);
    return leaves[{&group, builder.GetInsertBlock()}] = made;
  }
  return leaf;
}

Value *Emitter::make_leaf(Group &group, IRBuilder<> &builder) {
  switch (group.kind) {
    case GroupKind::Constant:
      if (has_expressions(group.parts)) return concatenateVectors(builder, group.parts);
      return concatenate(group.parts);
    case GroupKind::Splat:
    case GroupKind::Splats:
      return make_splats(group, builder);
    case GroupKind::Repeat:
      return builder.CreateShuffleVector(group.scalar, group.mask);
    case GroupKind::Single:
      return group.parts[0];
    case GroupKind::Permute:
      return builder.CreateShuffleVector(value_of(*group.operands[0], builder), group.mask);
    default:
      return concatenateVectors(builder, group.parts);
  }
}

// Fills all lanes with the first part's scalar, and then the lanes of the parts with another one.
Value *Emitter::make_splats(Group &group, IRBuilder<> &builder) {
  auto *type = wide_type(group.parts[0]->getType(), group.parts.size());
  Value *first = splat_scalar(group.parts[0]);
  unsigned lanes = type->getPrimitiveSizeInBits().getFixedValue() /
                   first->getType()->getPrimitiveSizeInBits().getFixedValue();
  unsigned part_lanes = lanes / group.parts.size();
  Value *wide = builder.CreateVectorSplat(lanes, first);
  SmallPtrSet<Value *, 4> done = {first};
  for (Value *part : group.parts) {
    Value *scalar = splat_scalar(part);
    if (!done.insert(scalar).second) continue;
    SmallVector<int, 64> mask;
    for (unsigned lane = 0; lane < lanes; lane++)
      mask.push_back(splat_scalar(group.parts[lane / part_lanes]) == scalar ? lanes + lane : lane);
    wide = builder.CreateShuffleVector(wide, builder.CreateVectorSplat(lanes, scalar), mask);
  }
  return builder.CreateBitCast(wide, type);
}

void Emitter::complete_phi(Group &group) {
  auto *wide = cast<PHINode>(group.wide);
  auto *first = cast<PHINode>(group.first());
  for (unsigned index = 0; index < first->getNumIncomingValues(); index++) {
    BasicBlock *from = first->getIncomingBlock(index);
    IRBuilder<> builder(from->getTerminator());
    wide->addIncoming(value_of(*group.operands[index], builder), from);
  }
}

// Gives the users that stay narrow their part of the wide value.
void Emitter::extract_parts(Group &group) {
  if (group.kind == GroupKind::Store) return;
  bool is_phi = group.kind == GroupKind::Phi;
  IRBuilder<> builder(is_phi ? &*group.block()->getFirstInsertionPt() : group.first());
  int lanes = cast<FixedVectorType>(group.first()->getType())->getNumElements();
  for (size_t part = 0; part < group.parts.size(); part++) {
    Value *narrow = group.parts[part];
    auto stays = [&](Use &use) { return !replaced.count(use.getUser()); };
    if (none_of(narrow->uses(), stays)) continue;
    SmallVector<int, 16> mask;
    for (int lane = 0; lane < lanes; lane++) mask.push_back(static_cast<int>(part) * lanes + lane);
    Value *extracted = builder.CreateShuffleVector(group.wide, mask);
    narrow->replaceUsesWithIf(extracted, stays);
  }
}

void Emitter::finish() {
  for (Group *group : emitted) {
    if (group->kind == GroupKind::Phi) complete_phi(*group);
    for (Value *part : group->parts) replaced.insert(cast<User>(part));
  }
  for (Group *group : emitted) extract_parts(*group);
  for (Group *group : emitted)
    for (Value *part : group->parts) cast<Instruction>(part)->dropAllReferences();
  for (Group *group : emitted)
    for (Value *part : group->parts) cast<Instruction>(part)->eraseFromParent();
}

}  // namespace iwh
