// Package atomicfile writes a file so that its name always leads to the old content or to the whole new content,
// never to a part: not after an error, a full disk, a kill or a power cut.
//
// The new bytes go to a temporary file in the same folder, whose name holds the target's. Then, in this order:
// flush, Sync, Close, Rename over the target, Sync of the folder. A failure at any step removes the temporary
// file and leaves the target as it was.
//
//	err := atomicfile.WriteFile("deit.w4a4.onnx", func(w io.Writer) error {
//		_, err := w.Write(model)
//		return err
//	})
//
// Where the new file is to be read back and verified before it takes the name, the two-step form shows it first:
//
//	f, err := atomicfile.Create("deit.w4a4.onnx")
//	defer f.Abort()              // nothing to do after Commit
//	f.Write(model)
//	err = f.Seal()               // f.TempName() now holds every byte, on disk
//	err = verify(f.TempName())
//	err = f.Commit()             // rename into place
//
// Every operation goes through the FS interface, so that tests can let each of them fail.
package atomicfile
