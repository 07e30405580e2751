// Runs the files of interop/matrix.sh in the browser build of ONNX Runtime (wasm,
// one thread) and prints one JSON line for each.
//
// usage: node matrix.mjs OUT NAME
import fs from 'node:fs'
import path from 'node:path'
import * as ort from 'onnxruntime-web'

const [out, runtime] = process.argv.slice(2)
ort.env.wasm.numThreads = 1
ort.env.logLevel = 'fatal'
const floats = f => { const b = fs.readFileSync(f); return new Float32Array(b.buffer, b.byteOffset, b.length / 4) }
const argmax = v => v.reduce((best, x, i) => x > v[best] ? i : best, 0)

for (const line of fs.readFileSync(path.join(out, 'files.txt'), 'utf8').split('\n').filter(Boolean)) {
  const [name, format] = line.split(' ')
  const file = path.join(out, `${name}.${format}.onnx`)
  if (!fs.existsSync(file)) continue
  const result = { runtime, name, format }
  try {
    const { inputs: [n, ...image], classes } = JSON.parse(fs.readFileSync(path.join(out, `${name}.shape.json`)))
    const inputs = floats(path.join(out, `${name}.inputs.f32`)), ours = floats(path.join(out, `${name}.${format}.logits.f32`))
    const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(file)), { executionProviders: ['wasm'] })
    const size = image.reduce((a, b) => a * b, 1), batch = 50
    Object.assign(result, { images: n, diff: 0, close: 0, flips: 0 })
    for (let i = 0; i < n; i += batch) {
      const k = Math.min(batch, n - i)
      const feed = new ort.Tensor('float32', inputs.slice(i * size, (i + k) * size), [k, ...image])
      const got = (await session.run({ [session.inputNames[0]]: feed }))[session.outputNames[0]].data
      for (let r = 0; r < k; r++) {
        const a = ours.subarray((i + r) * classes, (i + r + 1) * classes), b = got.subarray(r * classes, (r + 1) * classes)
        const diff = Math.max(...a.map((x, c) => Math.abs(x - b[c])))
        result.diff = Math.max(result.diff, diff)
        if (diff < 1e-4) result.close++
        if (argmax(a) !== argmax(b)) result.flips++
      }
    }
    await session.release()
  } catch (e) {
    for (const k of ['images', 'diff', 'close', 'flips']) delete result[k]
    result.error = String(e.message ?? e).split('\n')[0].slice(0, 160)
  }
  console.log(JSON.stringify(result))
}
