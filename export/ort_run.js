// Runs a model in ONNX Runtime. stdin: {"model", "dir", "inputs": [{"name", "dims", "file"}]};
// stdout: {"version", "outputs": [...]}. Files hold little-endian float32.
const fs = require("fs"), ort = require("onnxruntime-node");
const task = JSON.parse(fs.readFileSync(0, "utf8"));
(async () => {
  const session = await ort.InferenceSession.create(task.model, { logSeverityLevel: 4 });
  const feed = {};
  for (const t of task.inputs) {
    const b = fs.readFileSync(t.file);
    feed[t.name] = new ort.Tensor("float32", new Float32Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.length)), t.dims);
  }
  const values = await session.run(feed);
  const outputs = session.outputNames.map((name, i) => {
    const file = task.dir + "/out" + i, d = values[name].data;
    fs.writeFileSync(file, Buffer.from(d.buffer, d.byteOffset, d.byteLength));
    return { name, dims: values[name].dims, file };
  });
  const version = require("onnxruntime-node/package.json").version;
  process.stdout.write(JSON.stringify({ version, outputs }));
})().catch(e => { console.error(String(e.message || e)); process.exit(1); });
