//! Constant expressions: their values, and copies in which imported globals became constants.

use anyhow::{Context, Result, bail};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{ConstExpr, ElementSection, Encode, Instruction};
use wasmparser::{Element, ElementItems, ElementKind, Operator};

/// A constant of a numeric type; floats as their bits.
#[derive(Clone, Copy)]
pub enum Constant {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
}

impl Constant {
    pub fn instruction(self) -> Instruction<'static> {
        match self {
            Constant::I32(value) => Instruction::I32Const(value),
            Constant::I64(value) => Instruction::I64Const(value),
            Constant::F32(bits) => Instruction::F32Const(f32::from_bits(bits).into()),
            Constant::F64(bits) => Instruction::F64Const(f64::from_bits(bits).into()),
        }
    }

    pub fn expression(self) -> ConstExpr {
        ConstExpr::extended([self.instruction()])
    }
}

/// The value of an integer expression (an offset), read as unsigned.
///
/// Spec: <https://webassembly.github.io/spec/core/valid/instructions.html#constant-expressions>
pub fn evaluate(expression: &wasmparser::ConstExpr, globals: &[Constant]) -> Result<u64> {
    let mut stack = Vec::new();
    for operator in expression.get_operators_reader() {
        match operator? {
            Operator::I32Const { value } => stack.push(Constant::I32(value)),
            Operator::I64Const { value } => stack.push(Constant::I64(value)),
            Operator::GlobalGet { global_index } => {
                let value = globals.get(global_index as usize);
                stack.push(*value.context("a constant expression reads a defined global")?);
            }
            Operator::End => {}
            operator => {
                let (right, left) = (stack.pop(), stack.pop());
                stack.push(combine(&operator, left.zip(right).context("operands")?)?);
            }
        }
    }
    match stack.pop() {
        Some(Constant::I32(value)) => Ok(u64::from(value.cast_unsigned())),
        Some(Constant::I64(value)) => Ok(value.cast_unsigned()),
        _ => bail!("an offset that is no integer"),
    }
}

fn combine(operator: &Operator, operands: (Constant, Constant)) -> Result<Constant> {
    use Constant::{I32, I64};
    Ok(match (operator, operands) {
        (Operator::I32Add, (I32(left), I32(right))) => I32(left.wrapping_add(right)),
        (Operator::I32Sub, (I32(left), I32(right))) => I32(left.wrapping_sub(right)),
        (Operator::I32Mul, (I32(left), I32(right))) => I32(left.wrapping_mul(right)),
        (Operator::I64Add, (I64(left), I64(right))) => I64(left.wrapping_add(right)),
        (Operator::I64Sub, (I64(left), I64(right))) => I64(left.wrapping_sub(right)),
        (Operator::I64Mul, (I64(left), I64(right))) => I64(left.wrapping_mul(right)),
        _ => bail!("an offset with {operator:?}"),
    })
}

/// Copies sections in their oldest encoding, so that engines without newer ones can read them.
/// `global.get` of an imported global in a constant expression becomes its value,
/// since a global that is no import may be read there only with the garbage collection proposal.
pub struct Inliner<'a> {
    /// Values of the imported globals, by index.
    pub globals: &'a [Constant],
}

impl Reencode for Inliner<'_> {
    type Error = std::convert::Infallible;

    fn const_expr(
        &mut self,
        expression: wasmparser::ConstExpr,
    ) -> Result<ConstExpr, reencode::Error<Self::Error>> {
        let mut bytes = Vec::new();
        let mut operators = expression.get_operators_reader();
        while !operators.is_end_then_eof() {
            match operators.read()? {
                Operator::GlobalGet { global_index }
                    if (global_index as usize) < self.globals.len() =>
                {
                    self.globals[global_index as usize].instruction().encode(&mut bytes);
                }
                operator => self.instruction(operator)?.encode(&mut bytes),
            }
        }
        Ok(ConstExpr::raw(bytes))
    }

    fn parse_element(
        &mut self,
        elements: &mut ElementSection,
        mut element: Element<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        if let (ElementKind::Active { table_index, .. }, ElementItems::Functions(_)) =
            (&mut element.kind, &element.items)
        {
            *table_index = table_index.filter(|index| *index != 0);
        }
        reencode::utils::parse_element(self, elements, element)
    }
}
