//! Python's pickle, as far as `torch.save` uses it for tensors, read without ever calling anything.
//!
//! Reference: `Lib/pickletools.py` of CPython. A pickle is a program that may call any function of any module; this
//! reader knows the few names that stand for tensors and containers. What else training programs keep beside them (numbers of
//! NumPy, classes of Lightning) is carried along as an opaque value; a file that mentions anything else is refused.

use std::collections::HashMap;

use safetensors::Dtype;

use super::globals::Global;

/// A place in the arena. Values refer to each other by place, so that no file can make them nest too deeply to drop.
pub(super) type Id = usize;

/// One value of the pickle.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage {
        dtype: Dtype,
        key: String,
    },
    Tensor(Box<Tensor>),
    /// Something that is no part of the weights.
    Opaque,
}

/// A tensor as a view of a storage; lengths are in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) dtype: Dtype,
    pub(super) key: String,
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Why a pickle is not read, in words.
type Refusal = String;

/// Everything that a pickle says, and which of it is the result.
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle to its end, as long as it makes no more than `most_values`: a byte of it can make a value that takes
    /// a hundred.
    pub(super) fn read(bytes: &[u8], most_values: usize) -> Result<Self, Refusal> {
        let mut machine = Machine { rest: bytes, room: most_values, ..Machine::default() };
        let root = machine.run()?;
        Ok(Self { values: machine.values, root })
    }

    /// The result.
    pub(super) fn root(&self) -> &Value {
        &self.values[self.root]
    }

    /// The value at a place.
    pub(super) fn value(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// The value under a key of a dictionary.
    pub(super) fn entry(&self, entries: &[(Id, Id)], key: &str) -> Option<&Value> {
        let is_key = |(name, _): &&(Id, Id)| matches!(self.value(*name), Value::Text(name) if name == key);
        entries.iter().find(is_key).map(|(_, value)| self.value(*value))
    }
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    /// How many more values, memo entries and items it may make.
    room: usize,
    values: Vec<Value>,
    /// `None` is a mark.
    stack: Vec<Option<Id>>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, Refusal> {
        loop {
            let opcode = self.take(1)?[0];
            self.room = self.room.checked_sub(1).ok_or("its pickle is far larger than its tensors need")?;
            match opcode {
                b'.' => return self.pop(),
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.stack.push(None),
                b'0' => drop(self.pop()?),
                b'N' => self.push(Value::None),
                0x88 | 0x89 => self.push(Value::Bool),
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(number.into()));
                }
                b'K' => {
                    let number = self.take(1)?[0];
                    self.push(Value::Int(number.into()));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(number.into()));
                }
                0x8a => self.long()?,
                0x8b => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    self.take(length)?;
                    self.push(Value::Opaque);
                }
                b'B' => {
                    let length = u32::from_le_bytes(self.array()?) as usize;
                    self.take(length)?;
                    self.push(Value::Opaque);
                }
                b'C' => {
                    let length = self.take(1)?[0];
                    self.take(length.into())?;
                    self.push(Value::Opaque);
                }
                // An empty set.
                0x8f => self.push(Value::Opaque),
                0x90 => {
                    self.pop_to_mark()?;
                    self.top()?;
                }
                // A frozen set.
                0x91 => {
                    self.pop_to_mark()?;
                    self.push(Value::Opaque);
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Float);
                }
                b'X' | b'T' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize)?;
                }
                0x8c | b'U' => {
                    let length = self.take(1)?[0];
                    self.text(length.into())?;
                }
                b'}' => self.push(Value::Dict(Vec::new())),
                b']' => self.push(Value::List(Vec::new())),
                b')' => self.push(Value::Tuple(Vec::new())),
                0x85..=0x87 => {
                    let start =
                        self.stack.len().checked_sub(usize::from(opcode - 0x84)).ok_or_else(damaged)?;
                    let items =
                        self.stack.split_off(start).into_iter().collect::<Option<_>>().ok_or_else(damaged)?;
                    self.push(Value::Tuple(items));
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items));
                }
                b's' | b'u' => self.set_items(opcode)?,
                b'a' | b'e' => self.append(opcode)?,
                b'q' => {
                    let at = self.take(1)?[0];
                    self.remember(at.into())?;
                }
                b'r' => {
                    let at = u32::from_le_bytes(self.array()?);
                    self.remember(at)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let at = self.take(1)?[0];
                    self.recall(at.into())?;
                }
                b'j' => {
                    let at = u32::from_le_bytes(self.array()?);
                    self.recall(at)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.global(&module, &name)?;
                }
                b'Q' => self.persistent()?,
                b'R' | 0x81 => self.reduce()?,
                // State that is set on a dictionary or tensor is Python's own bookkeeping.
                b'b' => drop(self.pop()?),
                other => {
                    return Err(format!(
                        "it uses the pickle instruction 0x{other:02x}, which tensors do not need"
                    ));
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Refusal> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        self.take(N)?.try_into().map_err(|_| damaged())
    }

    fn line(&mut self) -> Result<String, Refusal> {
        let length = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(damaged)?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(Some(self.values.len()));
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, Refusal> {
        self.stack.pop().flatten().ok_or_else(damaged)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Refusal> {
        let mark = self.stack.iter().rposition(Option::is_none).ok_or_else(damaged)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        items.into_iter().collect::<Option<_>>().ok_or_else(damaged)
    }

    fn pop_text(&mut self) -> Result<String, Refusal> {
        let id = self.pop()?;
        match &self.values[id] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(damaged()),
        }
    }

    fn top(&mut self) -> Result<&mut Value, Refusal> {
        let id = self.stack.last().copied().flatten().ok_or_else(damaged)?;
        Ok(&mut self.values[id])
    }

    fn text(&mut self, length: usize) -> Result<(), Refusal> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    /// An integer of any length, of which only those of 8 bytes and less matter.
    fn long(&mut self) -> Result<(), Refusal> {
        let length = usize::from(self.take(1)?[0]);
        let bytes = self.take(length)?;
        let sign = if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 };
        let mut number = [sign; 8];
        if bytes.len() > number.len() {
            self.push(Value::Opaque);
            return Ok(());
        }
        number[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(number)));
        Ok(())
    }

    fn set_items(&mut self, opcode: u8) -> Result<(), Refusal> {
        let items = if opcode == b'u' {
            self.pop_to_mark()?
        } else {
            let (value, key) = (self.pop()?, self.pop()?);
            vec![key, value]
        };
        match self.top()? {
            Value::Dict(entries) => {
                entries.extend(items.as_chunks().0.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            Value::Opaque => Ok(()),
            _ => Err(damaged()),
        }
    }

    fn append(&mut self, opcode: u8) -> Result<(), Refusal> {
        let items = if opcode == b'e' { self.pop_to_mark()? } else { vec![self.pop()?] };
        match self.top()? {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            Value::Opaque => Ok(()),
            _ => Err(damaged()),
        }
    }

    fn remember(&mut self, at: u32) -> Result<(), Refusal> {
        let id = self.stack.last().copied().flatten().ok_or_else(damaged)?;
        self.memo.insert(at, id);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<(), Refusal> {
        let id = self.memo.get(&at).copied().ok_or_else(damaged)?;
        self.stack.push(Some(id));
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
        let global = Global::named(module, name).ok_or_else(|| {
            let name: String = format!("{module}.{name}").chars().take(100).collect();
            format!(
                "it calls `{name}`, and nothing but tensors and containers is read; save its state_dict alone"
            )
        })?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// `("storage", class, key, device, numel)`: the bytes lie in the archive's entry `data/<key>`.
    fn persistent(&mut self) -> Result<(), Refusal> {
        let id = self.pop()?;
        let Value::Tuple(items) = &self.values[id] else { return Err(damaged()) };
        let [kind, class, key, ..] = items[..] else { return Err(damaged()) };
        let storage = match (&self.values[kind], &self.values[class], &self.values[key]) {
            (Value::Text(kind), Value::Global(Global::Storage(dtype)), Value::Text(key))
                if kind == "storage" =>
            {
                Value::Storage { dtype: *dtype, key: key.clone() }
            }
            _ => return Err("it holds a storage of an unknown kind".to_owned()),
        };
        self.push(storage);
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), Refusal> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = &self.values[arguments] else { return Err(damaged()) };
        let result = match (&self.values[callable], &arguments[..]) {
            (Value::Global(Global::OrderedDict), []) => Value::Dict(Vec::new()),
            (Value::Global(Global::Size), &[sizes]) => self.values[sizes].clone(),
            (Value::Global(Global::RebuildParameter), &[tensor, ..]) => self.values[tensor].clone(),
            (Value::Global(Global::RebuildTensor), &[storage, offset, shape, strides, ..]) => {
                self.tensor(storage, offset, shape, strides).ok_or_else(damaged)?
            }
            (Value::Global(Global::Opaque) | Value::Opaque, _) => Value::Opaque,
            _ => return Err(damaged()),
        };
        self.push(result);
        Ok(())
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Option<Value> {
        let Value::Storage { dtype, key } = &self.values[storage] else { return None };
        let Value::Int(offset) = self.values[offset] else { return None };
        Some(Value::Tensor(Box::new(Tensor {
            dtype: *dtype,
            key: key.clone(),
            offset: offset.try_into().ok()?,
            shape: self.sizes(shape)?,
            strides: self.sizes(strides)?,
        })))
    }

    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let Value::Tuple(items) = &self.values[id] else { return None };
        let size = |&id: &Id| match self.values[id] {
            Value::Int(size) => size.try_into().ok(),
            _ => None,
        };
        items.iter().map(size).collect()
    }
}

fn damaged() -> Refusal {
    "its pickle is damaged".to_owned()
}
