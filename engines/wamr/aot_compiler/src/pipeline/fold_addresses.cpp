// Constant offsets of addresses.
//
// Compilers write `i32.add base, 496` where a load could have `offset=496`. A 32-bit addition may
// wrap, so LLVM cannot see that neighbouring accesses are neighbours. Folding is sound because no
// program uses the first 64 KiB of its memory: where base + C wraps, the true address lies below C
// plus the access's own offset, so the two together must not exceed 64 KiB. (An array at a fixed
// place is all offset, and its index, base + C, may well wrap.) The folded address then lies above
// 4 GiB, in the guard pages, and the access traps. Of a constant of more than 16 bits, or a negative
// one, the lower 16 bits are folded, and the others stay.
//
// Only addresses that are loaded from or stored to by the guest's own code are folded. A pointer
// that goes to a function of the runtime was checked in 32 bits and must stay what was checked.

#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/Operator.h>
#include <llvm/Transforms/Utils/Local.h>

#include "passes.h"

using namespace llvm;

namespace iwh {
namespace {

constexpr uint32_t kUnusedByteLength = 1 << 16;  // of each linear memory, from address 0
constexpr unsigned kMaxDepth = 6;

// The value of an address without its constant part; an instruction is made only when it is used.
class Splitter {
 public:
  explicit Splitter(Instruction *at) : builder(at) {}

  // Returns `value` minus a constant, which is added to `constant`, or null if it has none. All
  // of it is modulo 2^32.
  Value *split(Value *value, uint32_t &constant, unsigned depth = 0) {
    auto *operation = dyn_cast<Instruction>(value);
    if (!operation || depth > kMaxDepth || operation->getNumOperands() != 2) return nullptr;
    Value *left = operation->getOperand(0), *right = operation->getOperand(1);
    switch (operation->getOpcode()) {
      case Instruction::Or:
        if (!cast<PossiblyDisjointInst>(operation)->isDisjoint()) return nullptr;
        [[fallthrough]];
      case Instruction::Add:
        return split_sum(left, right, constant, depth);
      case Instruction::Shl:
        return split_scaled(left, right, constant, depth);
      default:
        return nullptr;
    }
  }

 private:
  Value *split_sum(Value *left, Value *right, uint32_t &constant, unsigned depth) {
    if (auto *number = dyn_cast<ConstantInt>(right)) {
      constant += static_cast<uint32_t>(number->getZExtValue());
      Value *rest = split(left, constant, depth + 1);
      return rest ? rest : left;
    }
    Value *left_rest = split(left, constant, depth + 1);
    Value *right_rest = split(right, constant, depth + 1);
    if (!left_rest && !right_rest) return nullptr;
    return builder.CreateAdd(left_rest ? left_rest : left, right_rest ? right_rest : right);
  }

  Value *split_scaled(Value *left, Value *right, uint32_t &constant, unsigned depth) {
    auto *shift = dyn_cast<ConstantInt>(right);
    if (!shift || shift->getZExtValue() > 15) return nullptr;
    uint32_t part = 0;
    Value *rest = split(left, part, depth + 1);
    if (!rest) return nullptr;
    constant += part << shift->getZExtValue();
    return builder.CreateShl(rest, right);
  }

  IRBuilder<> builder;
};

// base + zext(index) + byte_offset
struct Address {
  Value *base = nullptr;
  ZExtInst *index = nullptr;
  uint64_t byte_offset = 0;
};

// Takes a pointer apart. False if it is not an address in a 32-bit linear memory.
bool parse(Value *pointer, Address &address) {
  while (auto *step = dyn_cast<GEPOperator>(pointer)) {
    if (step->getNumIndices() != 1 || !step->getSourceElementType()->isIntegerTy(8)) return false;
    Value *index = step->getOperand(1);
    if (auto *sum = dyn_cast<BinaryOperator>(index); sum && sum->getOpcode() == Instruction::Add)
      if (auto *number = dyn_cast<ConstantInt>(sum->getOperand(1))) {
        address.byte_offset += number->getZExtValue();
        index = sum->getOperand(0);
      }
    pointer = step->getPointerOperand();
    if (auto *number = dyn_cast<ConstantInt>(index)) {
      address.byte_offset += number->getZExtValue();
      continue;
    }
    address.index = dyn_cast<ZExtInst>(index);
    address.base = pointer;
    return address.index && address.index->getOperand(0)->getType()->isIntegerTy(32);
  }
  return false;
}

bool fold(Instruction &access, unsigned operand) {
  Address address;
  if (!parse(access.getOperand(operand), address)) return false;
  uint32_t constant = 0;
  Value *rest = Splitter(&access).split(address.index->getOperand(0), constant);
  uint32_t folded = constant % kUnusedByteLength;
  uint64_t byte_length = access.getDataLayout().getTypeStoreSize(getLoadStoreType(&access));
  uint64_t end = folded + address.byte_offset + byte_length;
  if (!rest || folded == 0 || end > kUnusedByteLength) return false;
  IRBuilder<> builder(&access);
  if (constant != folded) rest = builder.CreateAdd(rest, builder.getInt32(constant - folded));
  Value *index = builder.CreateZExt(rest, builder.getInt64Ty());
  Value *pointer = builder.CreatePtrAdd(address.base, index);
  pointer = builder.CreatePtrAdd(pointer, builder.getInt64(address.byte_offset + folded));
  Value *before = access.getOperand(operand);
  access.setOperand(operand, pointer);
  RecursivelyDeleteTriviallyDeadInstructions(before);
  return true;
}

}  // namespace

PreservedAnalyses FoldAddressesPass::run(Function &function, FunctionAnalysisManager &) {
  SmallVector<Instruction *, 64> accesses;
  for (Instruction &instruction : instructions(function))
    if (isa<LoadInst, StoreInst>(instruction)) accesses.push_back(&instruction);
  bool changed = false;
  for (Instruction *access : accesses) changed |= fold(*access, isa<StoreInst>(access) ? 1 : 0);
  if (!changed) return PreservedAnalyses::all();
  PreservedAnalyses preserved;
  preserved.preserveSet<CFGAnalyses>();
  return preserved;
}

}  // namespace iwh
