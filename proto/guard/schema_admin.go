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
		{key: 21, name: "DeleteRecords", min: 0, max: 2, flexible: 2, fields: []field{
			list("topics", str("name"), list("partitions", i32("partition_index"), i64("offset"))), i32("timeout_ms"),
		}},
		{key: 29, name: "DescribeAcls", min: 1, max: 3, flexible: 2, fields: []field{
			i8("resource_type_filter"), str("resource_name_filter"), i8("pattern_type_filter"), str("principal_filter"), str("host_filter"),
			i8("operation"), i8("permission_type"),
		}},
		{key: 30, name: "CreateAcls", min: 1, max: 3, flexible: 2, fields: []field{
			list("creations", i8("resource_type"), str("resource_name"), i8("resource_pattern_type"), str("principal"), str("host"), i8("operation"),
				i8("permission_type")),
		}},
		{key: 31, name: "DeleteAcls", min: 1, max: 3, flexible: 2, fields: []field{
			list("filters", i8("resource_type_filter"), str("resource_name_filter"), i8("pattern_type_filter"), str("principal_filter"), str("host_filter"),
				i8("operation"), i8("permission_type"), memory("padding", 20)),
		}},
		{key: 32, name: "DescribeConfigs", min: 1, max: 4, flexible: 4, fields: []field{
			list("resources", i8("resource_type"), str("resource_name"), strs("configuration_keys")),
			i8("include_synonyms").since(1), i8("include_documentation").since(3),
		}},
		{key: 33, name: "AlterConfigs", min: 0, max: 2, flexible: 2, fields: []field{
			list("resources", i8("resource_type"), str("resource_name"), list("configs", str("name"), str("value"))),
			i8("validate_only"),
		}},
		{key: 35, name: "DescribeLogDirs", min: 1, max: 5, flexible: 2, fields: []field{list("topics", str("topic"), i32s("partitions"))}},
		{key: 37, name: "CreatePartitions", min: 0, max: 3, flexible: 2, fields: []field{
			list("topics", str("name"), i32("count"), list("assignments", i32s("broker_ids"))), i32("timeout_ms"), i8("validate_only"),
		}},
		{key: 43, name: "ElectLeaders", min: 0, max: 2, flexible: 2, fields: []field{
			i8("election_type").since(1), list("topic_partitions", str("topic"), i32s("partitions")), i32("timeout_ms"),
		}},
		{key: 44, name: "IncrementalAlterConfigs", min: 0, max: 1, flexible: 1, fields: []field{
			list("resources", i8("resource_type"), str("resource_name"), list("configs", str("name"), padded(i8("config_operation")), str("value"))),
			i8("validate_only"),
		}},
		{key: 45, name: "AlterPartitionReassignments", min: 0, max: 1, flexible: 0, fields: []field{
			i32("timeout_ms"), i8("allow_replication_factor_change").since(1),
			list("topics", str("name"), list("partitions", i32("partition_index"), i32s("replicas"))),
		}},
		{key: 46, name: "ListPartitionReassignments", min: 0, max: 0, flexible: 0, fields: []field{
			i32("timeout_ms"), list("topics", str("name"), i32s("partition_indexes")),
		}},
		{key: 48, name: "DescribeClientQuotas", min: 0, max: 1, flexible: 1, fields: []field{
			list("components", str("entity_type"), i8("match_type"), str("match")), i8("strict"),
		}},
		{key: 49, name: "AlterClientQuotas", min: 0, max: 1, flexible: 1, fields: []field{
			list("entries", list("entity", str("entity_type"), str("entity_name")), list("ops", str("key"), i64("value"), i8("remove"))),
			i8("validate_only"),
		}},
		{key: 57, name: "UpdateFeatures", min: 0, max: 2, flexible: 0, fields: []field{
			i32("timeout_ms"),
			list("feature_updates", str("feature"), i16("max_version_level"), i8("allow_downgrade").until(0), i8("upgrade_type").since(1)),
			i8("validate_only").since(1),
		}},
		{key: 60, name: "DescribeCluster", min: 0, max: 2, flexible: 0, fields: []field{
			i8("include_cluster_authorized_operations"), i8("endpoint_type").since(1), i8("include_fenced_brokers").since(2),
		}},
		{key: 74, name: "ListConfigResources", min: 0, max: 1, flexible: 0, fields: []field{
			scalars("resource_types", i8("")).since(1),
		}},
		{key: 75, name: "DescribeTopicPartitions", min: 0, max: 0, flexible: 0, fields: []field{
			list("topics", str("name")), i32("response_partition_limit"), maybe("cursor", str("topic_name"), i32("partition_index")),
		}},
	}
}
