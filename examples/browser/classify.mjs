// Classifies one image with a compressed model in onnxruntime-web.

// classify takes the library, the bytes of the model and the pixels, 1x1x28x28.
export async function classify(ort, model, pixels) {
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] })
  const input = new ort.Tensor('float32', pixels, [1, 1, 28, 28])
  const logits = Array.from((await session.run({ [session.inputNames[0]]: input }))[session.outputNames[0]].data)
  const best = logits.indexOf(Math.max(...logits))
  return `class ${best}, logit ${logits[best].toFixed(3)}`
}
