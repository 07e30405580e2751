// Package serve answers images over HTTP with a model: JSON for programs and one
// page for people.
//
//	s, err := serve.New(serve.Model{Name: "deit.w4a4.onnx", Graph: g, Shape: shape, Preprocess: prep}, serve.Options{Labels: names})
//	err = s.Serve(ctx, listener) // until ctx ends; then what was accepted is answered
//
//	$ curl --data-binary @cat.jpg localhost:8080/v1/classify
//	{"top":[{"class":281,"name":"tabby","p":0.71,"logit":8.2}, ...],"batch":1,"run_ms":9.1,"total_ms":14.0}
//
// Requests wait in a bounded queue. A worker takes what is waiting, up to a power
// of two of images, and runs it as one batch on all cores: nobody waits for a
// batch to fill, and batches grow when the machine is busy. A request that finds
// the queue full is refused at once, one that waits past its deadline is given
// up, and what a client can make the server hold is bounded: bytes of a body,
// pixels of a picture, pictures decoded at once.
//
//	POST /v1/classify     image (JPEG, PNG, ...), .npy or JSON {"shape":[...],"data":[...]}; ?top=5
//	POST /v1/attention    the same; attention maps of the model and, where given, of its float original
//	GET  /v1/model        what is served
//	GET  /healthz         200, or 503 while shutting down
//	GET  /metrics         Prometheus text
//	GET  /                the page
package serve
