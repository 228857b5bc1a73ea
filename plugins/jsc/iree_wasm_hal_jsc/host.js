// The JavaScript half of the plugin: everything that lives in one virtual machine.
//
// It runs on a thread of its own, in `serve`, which own_thread.py calls once. Python's threads never
// enter JavaScriptCore: they write a request into the mailbox, raise a semaphore and wait at a
// barrier. So nothing here is known in Python by a pointer, which JavaScriptCore's collector would
// not see there, but by numbers: of requests, of entries in the tables below, and addresses of bytes
// that stay reachable for as long as Python uses them.
//
//   mailbox        64-bit slots: arguments and the results of every operation and wasm call, and
//                  behind them the request and its outcome
//   held.transfer  bytes of a module on their way in, owned by one operation
//
// There are few loops here: what runs often is compiled again and again, ever more thoroughly, and
// the first use of each of JavaScriptCore's compilers makes megabytes of it resident.
//
// C functions that own_thread.py gives to this script:
//
//   awaitRequest   lowers the semaphore, once it is raised, or returns early
//   reply          meets the caller at the barrier
//   addressOf      where the bytes of a typed array are
//   textOf         where a new copy of a text is, which Python frees
//   collectGarbage does so before it returns
(function () {
  "use strict";
  if (typeof WebAssembly !== "object") throw new Error("WebAssembly is switched off");
  const MAILBOX_SLOT_COUNT = 1024; // the JavaScript API allows 1000 parameters
  const i64 = new BigInt64Array(MAILBOX_SLOT_COUNT + 2);
  const i32 = new Int32Array(i64.buffer);
  const [REQUEST, OUTCOME] = [2 * MAILBOX_SLOT_COUNT, 2 * MAILBOX_SLOT_COUNT + 2];
  const [NOTHING, END] = [0, -1]; // requests; the others are the numbers of functions
  const held = { mailbox: i64, transfer: null };

  const tables = [new Map(), new Map(), new Map()];
  const [programs, memories, instances] = tables;
  const functions = new Map(); // operations and the functions that `bind` made, by number
  let nextId = 1;
  let failure;

  const put = (table, entry) => {
    table.set(nextId, entry);
    i64[0] = BigInt(nextId++);
  };
  const argument = (index) => Number(i64[index]);

  const answer = (value) => {
    i64[0] = BigInt(textOf(JSON.stringify(value)));
  };

  // One JavaScript function per exported function: it reads the arguments from the mailbox and
  // writes the result there. 64-bit integers pass as BigInts without leaving JavaScript.
  // Functions of one type share their code.
  const wrappers = new Map();
  const wrap = (wasmFunction, { parameters, results }) => {
    const type = `${parameters}:${results}`;
    let wrapper = wrappers.get(type);
    if (wrapper === undefined) {
      const slot = (kind, index) => (kind === "i64" ? `i64[${index}]` : `i32[${2 * index}]`);
      const call = `wasmFunction(${parameters.map(slot).join(", ")})`;
      const body = results.length ? `${slot(results[0], 0)} = ${call}` : call;
      wrapper = new Function(
        "i32", "i64", `"use strict"; return (wasmFunction) => () => { ${body}; }`,
      )(i32, i64);
      wrappers.set(type, wrapper);
    }
    return wrapper(wasmFunction);
  };

  const operations = {
    allocate() {
      held.transfer = new Uint8Array(argument(0));
      i64[0] = BigInt(addressOf(held.transfer));
    },
    validate() {
      i64[0] = BigInt(WebAssembly.validate(held.transfer));
      held.transfer = null;
    },
    compile() {
      const bytes = held.transfer;
      held.transfer = null;
      put(programs, new WebAssembly.Module(bytes));
    },
    inspect() {
      const module = programs.get(argument(0));
      const [imports, exports] = [WebAssembly.Module.imports(module), WebAssembly.Module.exports(module)];
      answer({ imports, exports });
    },
    createMemory() {
      const [initial, maximum, shared] = [argument(0), argument(1), Boolean(argument(2))];
      put(memories, new WebAssembly.Memory({ initial, maximum, shared }));
    },
    locate() {
      i64[0] = BigInt(addressOf(new Uint8Array(memories.get(argument(0)).buffer)));
    },
    grow() {
      memories.get(argument(0)).grow(argument(1));
    },
    pageCount() {
      i64[0] = BigInt(memories.get(argument(0)).buffer.byteLength / 65536);
    },
    instantiate() {
      const [module, memory] = [programs.get(argument(0)), memories.get(argument(1))];
      const instance = new WebAssembly.Instance(module, { env: { memory } });
      put(instances, { module, exports: instance.exports, numbers: new Map() });
    },
    bind() {
      const { module, exports, numbers } = instances.get(argument(0));
      const index = argument(1);
      let number = numbers.get(index);
      if (number === undefined) {
        const { name, type } = WebAssembly.Module.exports(module)[index];
        number = nextId++;
        functions.set(number, wrap(exports[name], type));
        numbers.set(index, number);
      }
      i64[0] = BigInt(number);
    },
    release() {
      const [table, id] = [tables[argument(0)], argument(1)];
      for (const number of table.get(id).numbers?.values() ?? []) functions.delete(number);
      table.delete(id);
    },
    collect() {
      collectGarbage();
    },
    describe() {
      const error = failure;
      failure = undefined;
      answer({
        name: error instanceof WebAssembly.Exception ? "Exception" : String(error?.name),
        message: String(error?.message),
        stack: String(error?.stack ?? ""),
      });
    },
  };

  const serve = () => {
    for (;;) {
      awaitRequest();
      const request = i32[REQUEST];
      if (request === NOTHING) continue;
      i32[REQUEST] = NOTHING;
      if (request === END) return;
      try {
        functions.get(request)();
        i32[OUTCOME] = 0;
      } catch (error) {
        failure = error;
        i32[OUTCOME] = 1;
      }
      reply();
    }
  };

  const numbers = {};
  for (const [name, operation] of Object.entries(operations)) {
    numbers[name] = nextId;
    functions.set(nextId++, operation);
  }
  return { serve, mailbox: addressOf(i64), operations: JSON.stringify(numbers) };
})();
