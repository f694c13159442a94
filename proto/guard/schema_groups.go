package guard

// groupRequests are those of consumer groups.
func groupRequests() []request {
	return []request{
		{key: 8, name: "OffsetCommit", min: 2, max: 10, flexible: 8, fields: []field{
			str("group_id"), i32("generation_id").since(1), str("member_id").since(1), str("group_instance_id").since(7), i64("retention_time_ms").between(2, 4),
			list("topics", str("name").until(9), uuid("topic_id").since(10),
				list("partitions", i32("partition_index"), i64("committed_offset"), memory("timestamp", 8), i32("committed_leader_epoch").since(6),
					str("committed_metadata"))),
		}},
		{key: 9, name: "OffsetFetch", min: 1, max: 10, flexible: 6, fields: []field{
			str("group_id").until(7), list("topics", str("name"), i32s("partition_indexes")).until(7),
			list("groups", str("group_id"), str("member_id").since(9), i32("member_epoch").since(9),
				list("topics", str("name").until(9), uuid("topic_id").since(10), i32s("partition_indexes"))).since(8),
			i8("require_stable").since(7),
		}},
		{key: 10, name: "FindCoordinator", min: 0, max: 6, flexible: 3, fields: []field{
			str("key").until(3), i8("key_type").since(1), strs("coordinator_keys").since(4),
		}},
		{key: 11, name: "JoinGroup", min: 0, max: 9, flexible: 6, fields: []field{
			str("group_id"), i32("session_timeout_ms"), i32("rebalance_timeout_ms").since(1), str("member_id"), str("group_instance_id").since(5),
			str("protocol_type"), list("protocols", str("name"), data("metadata")), str("reason").since(8),
		}},
		{key: 12, name: "Heartbeat", min: 0, max: 4, flexible: 4, fields: []field{
			str("group_id"), i32("generation_id"), str("member_id"), str("group_instance_id").since(3),
		}},
		{key: 13, name: "LeaveGroup", min: 0, max: 5, flexible: 4, fields: []field{
			str("group_id"), str("member_id").until(2),
			list("members", str("member_id"), str("group_instance_id"), str("reason").since(5)).since(3),
		}},
		{key: 14, name: "SyncGroup", min: 0, max: 5, flexible: 4, fields: []field{
			str("group_id"), i32("generation_id"), str("member_id"), str("group_instance_id").since(3), str("protocol_type").since(5),
			str("protocol_name").since(5), list("assignments", str("member_id"), data("assignment")),
		}},
		{key: 15, name: "DescribeGroups", min: 0, max: 6, flexible: 5, fields: []field{
			strs("groups"), i8("include_authorized_operations").since(3),
		}},
		{key: 16, name: "ListGroups", min: 0, max: 5, flexible: 3, fields: []field{
			strs("states_filter").since(4), strs("types_filter").since(5),
		}},
		{key: 47, name: "OffsetDelete", min: 0, max: 0, flexible: 1, fields: []field{
			str("group_id"), list("topics", str("name"), list("partitions", i32("partition_index"))),
		}},
		{key: 68, name: "ConsumerGroupHeartbeat", min: 0, max: 1, flexible: 0, fields: []field{
			str("group_id"), str("member_id"), i32("member_epoch"), str("instance_id"), str("rack_id"), i32("rebalance_timeout_ms"),
			strs("subscribed_topic_names"), str("subscribed_topic_regex").since(1), str("server_assignor"),
			list("topic_partitions", uuid("topic_id"), i32s("partitions")),
		}},
		{key: 69, name: "ConsumerGroupDescribe", min: 0, max: 1, flexible: 0, fields: []field{
			strs("group_ids"), i8("include_authorized_operations"),
		}},
		{key: 42, name: "DeleteGroups", min: 0, max: 2, flexible: 2, fields: []field{strs("groups_names")}},
	}
}
