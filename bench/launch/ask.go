package launch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerMax bounds an answer: ApiVersions has some kilobytes.
const answerMax = 1 << 20

// asked sends ApiVersions. ok: an answer has come, or something that is none: whoever listens there speaks another protocol.
func asked(ctx context.Context, addr string) (ok bool, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	request := kmsg.NewPtrApiVersionsRequest()
	if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("keyframe-bench")).AppendRequest(nil, request, 1)); err != nil {
		return false, err
	}
	head := make([]byte, 8) // size, correlation
	if _, err := io.ReadFull(conn, head); err != nil {
		return false, err
	}
	size := binary.BigEndian.Uint32(head)
	if size < 4 || size > answerMax || binary.BigEndian.Uint32(head[4:]) != 1 {
		return true, errors.New("what answers does not speak the Kafka protocol")
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return false, err
	}
	answer := request.ResponseKind().(*kmsg.ApiVersionsResponse)
	if err := answer.ReadFrom(body); err != nil {
		return true, fmt.Errorf("its answer to ApiVersions: %w", err)
	}
	return true, kerr.ErrorForCode(answer.ErrorCode)
}
