// The JavaScript half of the plugin: everything that lives in one virtual machine.
//
// The C API gives out pointers that JavaScriptCore's collector knows of only while they are on a
// native stack or reachable from here. cffi keeps them elsewhere. So the Python half holds numbers
// (ids of entries in the tables below) and only such pointers as stay reachable from `host`:
//
//   host.mailbox   64-bit slots: arguments and the result of every operation and wasm call
//   host.transfer  bytes on their way in (a module, a name), owned by one operation
//   host.text      UTF-16 text on its way out, owned by one operation
//   host.window    the bytes of a memory, while Python asks where they are
//   host.wrapper   the function that `bind` made
//
// Operations take no arguments. They return undefined, or true when they threw; `describe` then
// puts the failure into host.text.
(function () {
  "use strict";
  if (typeof WebAssembly !== "object") throw new Error("WebAssembly is switched off");
  const MAILBOX_SLOT_COUNT = 1024; // the JavaScript API allows 1000 parameters
  const i64 = new BigInt64Array(MAILBOX_SLOT_COUNT);
  const i32 = new Int32Array(i64.buffer);
  const host = { mailbox: i64 };

  const tables = [new Map(), new Map(), new Map()];
  const [programs, memories, instances] = tables;
  let nextId = 1;
  let failure = null;

  const put = (table, entry) => {
    table.set(nextId, entry);
    i64[0] = BigInt(nextId++);
  };
  const argument = (index) => Number(i64[index]);

  const send = (text) => {
    const units = new Uint16Array(text.length + 1);
    for (let index = 0; index < text.length; ++index) units[index] = text.charCodeAt(index);
    host.text = units;
    i64[0] = BigInt(text.length);
  };
  // Code units, not UTF-8: names of exports may be any text.
  const receive = () => {
    const units = new Uint16Array(host.transfer.buffer, 0, host.transfer.length >> 1);
    let text = "";
    for (let index = 0; index < units.length; ++index) text += String.fromCharCode(units[index]);
    host.transfer = null;
    return text;
  };

  const guarded = (operation) => () => {
    try {
      operation();
    } catch (error) {
      failure = { error };
      return true;
    }
  };

  // One JavaScript function per exported function: it reads the arguments from the mailbox and
  // writes the result there. 64-bit integers pass as BigInts without leaving JavaScript.
  const wrap = (wasmFunction, type) => {
    const slot = (kind, index) => (kind === "i64" ? `i64[${index}]` : `i32[${2 * index}]`);
    const call = `wasmFunction(${type.parameters.map(slot).join(", ")})`;
    const body = type.results.length ? `${slot(type.results[0], 0)} = ${call}` : call;
    return new Function(
      "wasmFunction", "i32", "i64", "fail",
      `"use strict"; return () => { try { ${body}; } catch (error) { return fail(error); } }`,
    )(wasmFunction, i32, i64, (error) => {
      failure = { error };
      return true;
    });
  };

  const describe = () => {
    const error = failure === null ? undefined : failure.error;
    failure = null;
    send(JSON.stringify({
      name: error instanceof WebAssembly.Exception ? "Exception" : String(error?.name),
      message: String(error?.message),
      stack: String(error?.stack ?? ""),
    }));
  };

  const operations = {
    allocate() {
      host.transfer = new Uint8Array(argument(0));
    },
    validate() {
      i64[0] = BigInt(WebAssembly.validate(host.transfer));
      host.transfer = null;
    },
    compile() {
      const bytes = host.transfer;
      host.transfer = null;
      put(programs, new WebAssembly.Module(bytes));
    },
    inspect() {
      const module = programs.get(argument(0));
      const [imports, exports] = [WebAssembly.Module.imports(module), WebAssembly.Module.exports(module)];
      send(JSON.stringify({ imports, exports }));
    },
    createMemory() {
      const [initial, maximum, shared] = [argument(0), argument(1), Boolean(argument(2))];
      put(memories, new WebAssembly.Memory({ initial, maximum, shared }));
    },
    openWindow() {
      host.window = new Uint8Array(memories.get(argument(0)).buffer);
    },
    closeWindow() {
      host.window = null;
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
      const types = new Map();
      for (const { name, kind, type } of WebAssembly.Module.exports(module)) {
        if (kind === "function") types.set(name, type);
      }
      put(instances, { exports: instance.exports, types, wrappers: new Map() });
    },
    bind() {
      const { exports, types, wrappers } = instances.get(argument(0));
      const name = receive();
      let wrapper = wrappers.get(name);
      if (wrapper === undefined) {
        wrapper = wrap(exports[name], types.get(name));
        wrappers.set(name, wrapper);
      }
      host.wrapper = wrapper;
    },
    release() {
      tables[argument(0)].delete(argument(1));
      host.wrapper = null;
    },
  };
  for (const [name, operation] of Object.entries(operations)) host[name] = guarded(operation);
  host.describe = describe;
  globalThis.host = host;
})();
