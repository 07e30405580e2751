// Times an ONNX model in ONNX Runtime for Node, the twin of ort.py: child of `qvitc bench --vs ort --ort-node node`.
//
//   node -e SCRIPT MODEL BATCH THREADS   prints one JSON line about itself, then for every line N on stdin one JSON
//                                        list of N durations in nanoseconds
//
// onnxruntime-node is looked for from the working folder (node_modules) and in NODE_PATH.
const say = x => process.stdout.write(JSON.stringify(x) + "\n");

async function peer(model, batch, threads) {
  const ort = require("onnxruntime-node"), version = require("onnxruntime-node/package.json").version;
  const bare = process.memoryUsage().rss;
  let start = process.hrtime.bigint();
  const ms = () => Number(process.hrtime.bigint() - start) / 1e6;
  const session = await ort.InferenceSession.create(model, {
    intraOpNumThreads: threads, interOpNumThreads: 1, executionMode: "sequential", graphOptimizationLevel: "all",
    executionProviders: ["cpu"], logSeverityLevel: 3,
  });
  const load_ms = ms();
  if (!session.inputMetadata) throw new Error(`onnxruntime-node ${version} does not tell the shapes of inputs: 1.21 and newer do`);
  const feed = {};
  for (const v of session.inputMetadata) {
    const dims = v.shape.map((d, i) => (typeof d === "number" ? d : i === 0 ? batch : 1));
    const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) data[i] = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    feed[v.name] = new ort.Tensor("float32", data, dims);
  }
  start = process.hrtime.bigint();
  await session.run(feed);
  say({ name: `onnxruntime-node ${version}`, load_ms, first_ms: ms(), overbare_mb: (process.memoryUsage().rss - bare) / 1e6 });
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const times = [];
    for (let n = Number(line); n > 0; n--) {
      const at = process.hrtime.bigint();
      await session.run(feed);
      times.push(Number(process.hrtime.bigint() - at));
    }
    say(times);
  }
}

const [model, batch, threads] = process.argv.slice(1);
peer(model, Number(batch), Number(threads)).catch(e => {
  say({ error: String(e.message || e).split("\n")[0].slice(0, 500) });
  process.exit(1);
});
