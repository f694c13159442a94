package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/keyframelog/keyframe/client"
)

// A replica of a topic in this process: `topic` stands for a broker, and topic.Open for
//
//	client.OpenReplica(ctx, client.Config{
//		Brokers: []string{"127.0.0.1:9092"}, StateURL: "http://127.0.0.1:9094", Topic: "files",
//	})
func Example() {
	ctx := context.Background()
	topic := client.NewFakeTopic()
	defer topic.Close()
	topic.Write("README.md", `{"mode":"644","size":10}`, "bin/run", `{"mode":"755"}`)
	topic.Cut()

	r, err := topic.Open(ctx, client.Config{Store: client.Memory()})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	end := topic.Write("README.md", `{"size":12}`, "bin/run", "-") // a patch, and a deletion
	if err := r.WaitFor(ctx, 0, end); err != nil {
		log.Fatal(err)
	}
	for row, err := range r.Scan(ctx, nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s = %s, since offset %d\n", row.Key, row.Value, row.Offset)
	}
	for _, v := range r.Verify(ctx) {
		fmt.Printf("partition %d at %d: %v\n", v.Partition, v.At, v.Outcome)
	}
	// Output:
	// README.md = {"mode":"644","size":12}, since offset 2
	// partition 0 at 4: equal
}

// Watch yields the state and then every change; where a reader stopped is where it goes on.
func ExampleReplica_Watch() {
	ctx := context.Background()
	topic := client.NewFakeTopic()
	defer topic.Close()
	topic.Write("a", "1")
	topic.Cut()
	r, err := topic.Open(ctx, client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	at := client.Positions{}
	for change, err := range r.Watch(ctx, nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s = %s\n", change.Key, change.Value)
		at[change.Partition] = change.Next
		break // one row is all there is
	}
	topic.Write("b", "2", "a", "-")
	for change, err := range r.Watch(ctx, at) {
		if err != nil {
			log.Fatal(err)
		}
		if change.Deleted {
			fmt.Printf("%s is gone\n", change.Key)
			break
		}
		fmt.Printf("%s = %s\n", change.Key, change.Value)
	}
	// Output:
	// a = 1
	// b = 2
	// a is gone
}

func ExampleTyped() {
	type file struct {
		Mode string `json:"mode"`
	}
	ctx := context.Background()
	topic := client.NewFakeTopic()
	defer topic.Close()
	topic.Write("bin/run", `{"mode":"755"}`, "bin/stop", `{"mode":"755"}`, "README.md", `{"mode":"644"}`)
	topic.Cut()
	r, err := topic.Open(ctx, client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	files := client.NewTyped(r, client.JSON[file]{})
	for f, err := range files.Scan(ctx, "bin/") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(f.Key, f.Value.Mode)
	}
	// Output:
	// bin/run 755
	// bin/stop 755
}
