package serve

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed web
var web embed.FS

// addPage serves the files of the page; index.html at the root.
func addPage(mux *http.ServeMux) {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err)
	}
	h := http.FileServerFS(files)
	mux.Handle("GET /{$}", h)
	for _, name := range []string{"app.js", "style.css", "favicon.svg"} {
		mux.Handle("GET /"+name, h)
	}
}
