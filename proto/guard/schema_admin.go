package guard

// adminRequests are those of clients at start and of tools.
func adminRequests() []request {
	return []request{
		{key: 18, name: "ApiVersions", min: 0, max: 4, flexible: 3, fields: []field{
			str("client_software_name").since(3), str("client_software_version").since(3),
		}},
		{key: 19, name: "CreateTopics", min: 2, max: 7, flexible: 5, fields: []field{
			list("topics", str("name"), i32("num_partitions"), i16("replication_factor"),
				list("assignments", i32("partition_index"), i32s("broker_ids")),
				list("configs", str("name"), str("value"))),
			i32("timeout_ms"), i8("validate_only").since(1),
		}},
		{key: 20, name: "DeleteTopics", min: 1, max: 6, flexible: 4, fields: []field{
			strs("topic_names").until(5), list("topics", str("name"), uuid("topic_id")).since(6), i32("timeout_ms"),
		}},
		{key: 32, name: "DescribeConfigs", min: 1, max: 4, flexible: 4, fields: []field{
			list("resources", i8("resource_type"), str("resource_name"), strs("configuration_keys")),
			i8("include_synonyms").since(1), i8("include_documentation").since(3),
		}},
	}
}
