package fold_test

import (
	"fmt"

	"github.com/keyframelog/keyframe/proto/fold"
)

func ExampleFolder() {
	f := fold.NewFolder(fold.JSONMergePatch, 1<<20)
	var state fold.State
	for _, value := range []string{`{"name":"alice","age":41.0}`, `{"age":42,"name":null}`, `{"age":1e999}`} {
		d, err := fold.JSONMergePatch.Delta([]byte("user-1"), []byte(value), nil)
		if err != nil {
			fmt.Println("refused:", err)
			continue
		}
		state, _ = f.Apply(state, d)
		fmt.Println(string(state.Value))
	}
	// Output:
	// {"age":41,"name":"alice"}
	// {"age":42}
	// refused: the number 1e999 is out of range
}
