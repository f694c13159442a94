package conformance_test

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/keyframelog/keyframe/broker/raw"
)

// identify says what is tested: the protocol names no software, so it is told by what it offers.
func identify(addr string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	offered, err := ask(c, apiVersionsRequest(4))
	if err != nil {
		return "", err
	}
	versions := offered.(*kmsg.ApiVersionsResponse)
	name := "a broker that looks like Apache Kafka " + kversion.FromApiVersionsResponse(versions).VersionGuess()
	var features []string
	for _, f := range versions.FinalizedFeatures {
		features = append(features, fmt.Sprintf("%s=%d", f.Name, f.MaxVersionLevel))
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.ValidateOnly, create.TimeoutMillis = 7, true, 10_000
	create.Topics = []kmsg.CreateTopicsRequestTopic{raw.NewTopic(fmt.Sprintf("identify-%d", time.Now().UnixNano()), 1, 1)}
	created, err := ask(c, create)
	if err != nil {
		return "", err
	}
	for _, t := range created.(*kmsg.CreateTopicsResponse).Topics {
		for _, config := range t.Configs {
			if strings.HasPrefix(config.Name, "keyframe.") {
				name = "Keyframe"
			}
		}
	}
	return fmt.Sprintf("%s at %s: %d APIs, features %s", name, addr, len(versions.ApiKeys), strings.Join(features, " ")), nil
}

// ask is raw.Do for who has no test.
func ask(c net.Conn, req kmsg.Request) (kmsg.Response, error) {
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		return nil, err
	}
	frame, err := raw.ReadFrame(c)
	if err != nil {
		return nil, err
	}
	resp, _, err := raw.Decode(req, frame)
	return resp, err
}
