package guard

// dataRequests are those of producers and consumers.
func dataRequests() []request {
	return []request{
		{key: 0, name: "Produce", min: 3, max: 13, flexible: 9, fields: []field{
			str("transactional_id").since(3), i16("acks"), i32("timeout_ms"),
			list("topics", str("name").until(12), uuid("topic_id").since(13),
				list("partitions", i32("index"), data("records"))),
		}},
		{key: 1, name: "Fetch", min: 4, max: 18, flexible: 12, fields: []field{
			i32("replica_id").until(14), i32("max_wait_ms"), i32("min_bytes"), i32("max_bytes").since(3), i8("isolation_level").since(4),
			i32("session_id").since(7), i32("session_epoch").since(7),
			list("topics", str("topic").until(12), uuid("topic_id").since(13),
				list("partitions", i32("partition"), i32("current_leader_epoch").since(9), i64("fetch_offset"), i32("last_fetched_epoch").since(12),
					i64("log_start_offset").since(5), i32("partition_max_bytes"), memory("tagged", 24)).
					knows(uuid("replica_directory_id"), i64("high_watermark"))),
			list("forgotten_topics_data", str("topic").until(12), uuid("topic_id").since(13), i32s("partitions")).since(7),
			str("rack_id").since(11),
		}, tagged: []field{
			{}, // cluster id
			list("replica_state", i32("replica_id"), i64("replica_epoch")).since(15),
		}},
		{key: 2, name: "ListOffsets", min: 1, max: 11, flexible: 6, fields: []field{
			i32("replica_id"), i8("isolation_level").since(2),
			list("topics", str("name"),
				list("partitions", i32("partition_index"), i32("current_leader_epoch").since(4), i64("timestamp"), memory("max_num_offsets", 8))),
			i32("timeout_ms").since(10),
		}},
		{key: 3, name: "Metadata", min: 0, max: 13, flexible: 9, fields: []field{
			list("topics", uuid("topic_id").since(10), str("name")),
			i8("allow_auto_topic_creation").since(4), i8("include_cluster_authorized_operations").between(8, 10),
			i8("include_topic_authorized_operations").since(8),
		}},
		{key: 22, name: "InitProducerId", min: 0, max: 5, flexible: 2, fields: []field{
			str("transactional_id"), i32("transaction_timeout_ms"), i64("producer_id").since(3), i16("producer_epoch").since(3),
		}},
		{key: 23, name: "OffsetForLeaderEpoch", min: 2, max: 4, flexible: 4, fields: []field{
			i32("replica_id").since(3),
			list("topics", str("topic"), list("partitions", i32("partition"), i32("current_leader_epoch").since(2), i32("leader_epoch"))),
		}},
	}
}

// memory is a field that lies in a tag or in versions that are not served, but takes its place in the decoded structure.
func memory(name string, bytes int) field {
	return field{name: name, kind: fixed, from: last, to: last - 1, memory: bytes}
}
