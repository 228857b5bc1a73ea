// The JavaScript half of the plugin: everything that lives in one isolate.
//
// Python sends requests as JSON, `["operation", ...arguments]`, through one entry. The answer is a
// buffer or a function as it is, and anything else as JSON: {"answer": ...} or {"failure": ...}.
// Bytes come in through a staging buffer that Python fills. Wasm calls are no requests: `bind`
// makes a function without parameters that takes its arguments from the mailbox.
(function () {
  "use strict";
  Error.stackTraceLimit = 64;

  // 64-bit slots: status (0 not finished, 1 returned, 2 threw), result, arguments.
  const RETURNED = 1;
  const THREW = 2;
  const RESULT_SLOT = 1;
  const FIRST_ARGUMENT_SLOT = 2;
  const MAX_PARAMETER_COUNT = 1000; // the JavaScript API's limit
  const MAX_UNCOLLECTED_COUNT = 16; // collecting takes a few milliseconds
  const mailbox = new SharedArrayBuffer(8 * (FIRST_ARGUMENT_SLOT + MAX_PARAMETER_COUNT));
  const i32 = new Int32Array(mailbox);
  const i64 = new BigInt64Array(mailbox);

  let staged = null;
  let memory = null;
  let thrown = null;
  let releasedCount = 0;
  const programs = new Map(); // modules that are held until they are released
  const instances = new Map();

  // Modules of this isolate's instances go with the last of them: Python has the bytes, and V8
  // finds the code again.
  const used = new Map();
  const collected = new FinalizationRegistry((id) => {
    if (used.get(id)?.deref() === undefined) used.delete(id);
  });

  const describe = (error) => ({
    name: error instanceof WebAssembly.Exception ? "Exception" : String(error?.name),
    message: String(error?.message ?? error),
    stack: String(error?.stack ?? ""),
  });

  const wrap = (wasmFunction, { parameters, results }) => {
    const slot = (kind, index) => (kind === "i64" ? `i64[${index}]` : `i32[${2 * index}]`);
    const values = parameters.map((kind, index) => slot(kind, FIRST_ARGUMENT_SLOT + index));
    const call = `wasmFunction(${values.join(", ")})`;
    const body = results.length ? `${slot(results[0], RESULT_SLOT)} = ${call}` : call;
    return new Function(
      "wasmFunction", "i32", "i64", "fail",
      `"use strict";
      return () => {
        try { ${body}; } catch (error) { fail(error); return; }
        i32[0] = ${RETURNED};
      };`,
    )(wasmFunction, i32, i64, (error) => {
      thrown = error;
      i32[0] = THREW;
    });
  };

  const takeStaged = () => {
    const bytes = staged;
    staged = null;
    return bytes;
  };

  const operations = {
    reflectsTypes: () => typeof WebAssembly.Function === "function",
    mailbox: () => mailbox,
    arguments: () => [],
    nothing: () => () => {},
    stage(byteLength) {
      staged = new Uint8Array(byteLength);
      return staged.buffer;
    },
    validate: () => WebAssembly.validate(takeStaged()),
    compile(id) {
      const module = new WebAssembly.Module(takeStaged());
      programs.set(id, module);
      return {
        imports: WebAssembly.Module.imports(module).map((each) => [
          `${each.module}.${each.name}`, each.kind,
        ]),
        functions: WebAssembly.Module.exports(module)
          .filter(({ kind }) => kind === "function")
          .map(({ name, type }) => [name, type.parameters, type.results]),
      };
    },
    createMemory(initial, maximum, shared, address) {
      const integer = address === "i64" ? BigInt : Number;
      memory = new WebAssembly.Memory({
        initial: integer(initial), maximum: integer(maximum), shared, address,
      });
      return memory.buffer;
    },
    grow(delta, address) {
      memory.grow(address === "i64" ? BigInt(delta) : delta);
      return memory.buffer;
    },
    // Gives false if it needs the bytes staged.
    instantiate(programId, instanceId) {
      let module = used.get(programId)?.deref();
      if (module === undefined) {
        if (staged === null) return false;
        module = new WebAssembly.Module(takeStaged());
        used.set(programId, new WeakRef(module));
        collected.register(module, programId);
      }
      const { exports } = new WebAssembly.Instance(module, { env: { memory } });
      instances.set(instanceId, { module, exports });
      return true;
    },
    bind(instanceId, name, type) {
      return wrap(instances.get(instanceId).exports[name], type);
    },
    release(ids) {
      for (const id of ids) {
        programs.delete(id);
        instances.delete(id);
      }
      // The collector does not see how much code hangs on them.
      releasedCount += ids.length;
      if (releasedCount >= MAX_UNCOLLECTED_COUNT && typeof gc === "function") {
        releasedCount = 0;
        gc();
      }
      return null;
    },
    thrown() {
      const error = thrown;
      thrown = null;
      return describe(error);
    },
  };

  // mini-racer calls a method `push` of whatever it is given: ours is the one entry.
  const entry = {
    push(request) {
      try {
        const [name, ...parameters] = JSON.parse(request);
        const answer = operations[name](...parameters);
        const plain = !(answer instanceof SharedArrayBuffer || answer instanceof ArrayBuffer ||
          Array.isArray(answer) || typeof answer === "function");
        return plain ? JSON.stringify({ answer }) : answer;
      } catch (error) {
        return JSON.stringify({ failure: describe(error) });
      }
    },
  };

  // The one value that C code can get hold of at first is a function: it hands the entry over.
  Function.prototype.push = () => {
    delete Function.prototype.push;
    return entry;
  };
})();
