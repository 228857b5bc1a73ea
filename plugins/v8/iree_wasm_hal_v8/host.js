// The JavaScript half of the plugin: everything that lives in one isolate.
//
// Python sends requests as JSON, `["operation", ...arguments]`, through one entry. The answer is a
// buffer or a function as it is, and anything else as JSON: {"answer": ...} or {"failure": ...}.
// Bytes come in through a staging buffer that Python fills. Wasm calls are no requests: `bind`
// makes a function without parameters that takes its arguments from the mailbox.
//
// What a request runs is named `iree_...`: library.py tells V8 never to optimise such functions. They
// run some ten times per load, and the optimising compilers for JavaScript would take 5 MB.
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
  const collected = new FinalizationRegistry(function iree_collected(id) {
    if (used.get(id)?.deref() === undefined) used.delete(id);
  });

  const iree_describe = (error) => ({
    name: error instanceof WebAssembly.Exception ? "Exception" : String(error?.name),
    message: String(error?.message ?? error),
    stack: String(error?.stack ?? ""),
  });

  const iree_slot = (kind, index) => (kind === "i64" ? `i64[${index}]` : `i32[${2 * index}]`);
  const iree_argument = (kind, index) => iree_slot(kind, FIRST_ARGUMENT_SLOT + index);

  const iree_wrap = (wasmFunction, { parameters, results }) => {
    const call = `wasmFunction(${parameters.map(iree_argument).join(", ")})`;
    const body = results.length ? `${iree_slot(results[0], RESULT_SLOT)} = ${call}` : call;
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

  const iree_import = ({ module, name, kind }) => [`${module}.${name}`, kind];
  const iree_isFunction = ({ kind }) => kind === "function";
  const iree_export = ({ name, type }) => [name, type.parameters, type.results];

  const iree_takeStaged = () => {
    const bytes = staged;
    staged = null;
    return bytes;
  };

  const operations = {
    iree_reflectsTypes: () => typeof WebAssembly.Function === "function",
    iree_mailbox: () => mailbox,
    iree_arguments: () => [],
    iree_nothing: () => () => {},
    iree_stage(byteLength) {
      staged = new Uint8Array(byteLength);
      return staged.buffer;
    },
    iree_validate: () => WebAssembly.validate(iree_takeStaged()),
    iree_warmUp(count) {
      new WebAssembly.Instance(new WebAssembly.Module(iree_takeStaged())).exports.run(count);
      return null;
    },
    iree_compile(id) {
      const module = new WebAssembly.Module(iree_takeStaged());
      programs.set(id, module);
      return {
        imports: WebAssembly.Module.imports(module).map(iree_import),
        functions: WebAssembly.Module.exports(module).filter(iree_isFunction).map(iree_export),
      };
    },
    iree_createMemory(initial, maximum, shared, address) {
      const integer = address === "i64" ? BigInt : Number;
      memory = new WebAssembly.Memory({
        initial: integer(initial), maximum: integer(maximum), shared, address,
      });
      return memory.buffer;
    },
    iree_grow(delta, address) {
      memory.grow(address === "i64" ? BigInt(delta) : delta);
      return memory.buffer;
    },
    // Gives false if it needs the bytes staged.
    iree_instantiate(programId, instanceId) {
      let module = used.get(programId)?.deref();
      if (module === undefined) {
        if (staged === null) return false;
        module = new WebAssembly.Module(iree_takeStaged());
        used.set(programId, new WeakRef(module));
        collected.register(module, programId);
      }
      const { exports } = new WebAssembly.Instance(module, { env: { memory } });
      instances.set(instanceId, { module, exports });
      return true;
    },
    iree_bind(instanceId, name, type) {
      return iree_wrap(instances.get(instanceId).exports[name], type);
    },
    iree_release(ids) {
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
    iree_thrown() {
      const error = thrown;
      thrown = null;
      return iree_describe(error);
    },
  };

  // mini-racer calls a method `push` of whatever it is given: ours is the one entry.
  const entry = {
    push: function iree_push(request) {
      try {
        const [name, ...parameters] = JSON.parse(request);
        const answer = operations[`iree_${name}`](...parameters);
        const plain = !(answer instanceof SharedArrayBuffer || answer instanceof ArrayBuffer ||
          Array.isArray(answer) || typeof answer === "function");
        return plain ? JSON.stringify({ answer }) : answer;
      } catch (error) {
        return JSON.stringify({ failure: iree_describe(error) });
      }
    },
  };

  // The one value that C code can get hold of at first is a function: it hands the entry over.
  Function.prototype.push = () => {
    delete Function.prototype.push;
    return entry;
  };
})();
