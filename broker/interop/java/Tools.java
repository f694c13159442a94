import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.common.utils.Exit;

/** Runs Kafka's own command-line tools, by their main methods: one virtual machine starts instead of thirty. */
final class Tools {
    private static final String TOOLS = "org.apache.kafka.tools.";

    /** What a tool ends with instead of ending the process. */
    private static final class Ended extends RuntimeException {
        Ended(int status) {
            super("exit status " + status, null, false, false);
        }
    }

    private static final List<Runnable> HOOKS = new CopyOnWriteArrayList<>(); // what the tool does when its process ends
    private static Integer ended; // with the first status: a tool may catch Ended and exit again

    private static void end(int status) {
        if (ended == null) ended = status;
        throw new Ended(status);
    }

    public static void main(String[] arguments) {
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        Driver.version();
        Driver.capability("topics", Tools::topics);
        Driver.capability("configs", Tools::configs);
        Driver.capability("consumer-groups", Tools::groups);
        Driver.capability("log-dirs", Tools::logDirs);
        Driver.capability("delete-records", Tools::deleteRecords);
        Driver.capability("transactions-tool", Tools::transactions);
        Driver.capability("features", Tools::features);
        Driver.capability("api-versions", Tools::apiVersions);
        Driver.capability("perf", Tools::perf);
        Driver.capability("end-to-end", Tools::endToEnd);
        Driver.capability("console", Tools::console);
        Driver.capability("verifiable", Tools::verifiable);
        Driver.end();
    }

    private static String name(String what) {
        return Driver.PREFIX + "-" + what;
    }

    /** What the tool printed; a status other than 0 is an error. */
    private static String tool(String name, String... arguments) throws Exception {
        return toolWith("", name, arguments);
    }

    private static synchronized String toolWith(String input, String name, String... arguments) throws Exception {
        PrintStream out = System.out, err = System.err;
        InputStream in = System.in;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream to = new PrintStream(printed, true);
        List<String> all = new ArrayList<>(List.of("--bootstrap-server", Driver.ADDR));
        all.addAll(List.of(arguments));
        ended = null;
        HOOKS.clear();
        try {
            System.setOut(to);
            System.setErr(to);
            System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
            Class.forName(name.startsWith("kafka.") ? name : TOOLS + name).getMethod("main", String[].class).invoke(null, (Object) all.toArray(String[]::new));
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) throw new AssertionError(name + ": " + e.getCause() + " " + printed);
        } finally {
            HOOKS.forEach(Runnable::run);
            System.setOut(out);
            System.setErr(err);
            System.setIn(in);
        }
        String text = printed.toString(StandardCharsets.UTF_8);
        System.err.println("--- " + name + " " + all + "\n" + text);
        int status = ended == null ? 0 : ended;
        Driver.check(status == 0, "%s %s: exit status %d: %s", name, all, status, text);
        return text;
    }

    /** A tool that only ends with its process. */
    private static String process(String name, String... arguments) throws Exception {
        List<String> all = new ArrayList<>(List.of("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=" + System.getProperty("log4j2.configurationFile"),
            "-cp", System.getProperty("java.class.path"), TOOLS + name, "--bootstrap-server", Driver.ADDR));
        all.addAll(List.of(arguments));
        Process p = new ProcessBuilder(all).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String text = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        Driver.check(p.waitFor() == 0, "%s: exit status %d", name, p.exitValue());
        return text;
    }

    /** Each pattern is found in what was printed. */
    private static void has(String text, String... patterns) {
        for (String p : patterns)
            Driver.check(Pattern.compile(p, Pattern.MULTILINE).matcher(text).find(), "nothing like %s in: %s", p, text.substring(0, Math.min(text.length(), 600)));
    }

    private static final String TOPICS = "TopicCommand", CONFIGS = "kafka.admin.ConfigCommand", GROUPS = "consumer.group.ConsumerGroupCommand";

    private static void topics() throws Exception {
        String t = name("topics");
        has(tool(TOPICS, "--create", "--topic", t, "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=3600000", "--config", "cleanup.policy=delete"), "Created topic");
        Driver.until("it is described", () -> {
            has(tool(TOPICS, "--describe", "--topic", t), "PartitionCount: 2\\s+ReplicationFactor: 1\\s+Configs: .*retention.ms=3600000", "Partition: 1\\s+Leader: 1\\s+Replicas: 1\\s+Isr: 1");
            return true;
        });
        has(tool(TOPICS, "--create", "--topic", t, "--if-not-exists"), "");
        tool(TOPICS, "--alter", "--topic", t, "--partitions", "4");
        Driver.until("four partitions", () -> tool(TOPICS, "--describe", "--topic", t).contains("PartitionCount: 4"));
        has(tool(TOPICS, "--list"), "^" + t + "$");
        for (String filter : List.of("--under-replicated-partitions", "--unavailable-partitions", "--at-min-isr-partitions", "--topics-with-overrides"))
            tool(TOPICS, "--describe", "--topic", t, filter);
        tool(TOPICS, "--delete", "--topic", t);
        Driver.until("it is gone", () -> !tool(TOPICS, "--list").contains(t));
    }

    private static void configs() throws Exception {
        String t = name("configs");
        Driver.topic(t, 1, Map.of());
        tool(CONFIGS, "--alter", "--entity-type", "topics", "--entity-name", t, "--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]");
        Driver.until("they are described", () -> {
            has(tool(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", t), "retention.ms=7200000 .*DYNAMIC_TOPIC_CONFIG", "cleanup.policy=compact,delete");
            return true;
        });
        tool(CONFIGS, "--alter", "--entity-type", "topics", "--entity-name", t, "--delete-config", "retention.ms");
        Driver.until("it is deleted", () -> !tool(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", t).contains("retention.ms=7200000"));
        has(tool(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", t, "--all"), "retention.ms=604800000 ", "max.message.bytes=");
        has(tool(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-name", "1", "--all"), "log.retention", "auto.create.topics.enable=");
    }

    private static void groups() throws Exception {
        String t = name("groups"), g = name("groups-group");
        Driver.topic(t, 2, Map.of());
        toolWith("a\nb\nc\nd\n", "ConsoleProducer", "--topic", t);
        has(tool("consumer.ConsoleConsumer", "--topic", t, "--group", g, "--from-beginning", "--max-messages", "4", "--timeout-ms", "20000"), "^a$", "^d$");
        has(tool(GROUPS, "--list"), "^" + g + "$");
        Driver.until("no member is left", () -> tool(GROUPS, "--describe", "--group", g, "--state").contains("Empty"));
        String offsets = tool(GROUPS, "--describe", "--group", g);
        has(offsets, g + "\\s+" + t + "\\s+0\\s+\\d+", "GROUP\\s+TOPIC\\s+PARTITION");
        tool(GROUPS, "--describe", "--group", g, "--members", "--verbose");
        has(tool(GROUPS, "--reset-offsets", "--group", g, "--topic", t, "--to-earliest", "--execute"), g + "\\s+" + t + "\\s+0\\s+0");
        has(tool(GROUPS, "--describe", "--group", g), t + "\\s+0\\s+0");
        has(tool(GROUPS, "--delete-offsets", "--group", g, "--topic", t + ":0"), "Successful");
        has(tool(GROUPS, "--delete", "--group", g), "successful");
        Driver.check(!tool(GROUPS, "--list").contains(g), "the group is still listed");
        has(tool("GetOffsetShell", "--topic", t, "--time", "-1"), t + ":0:\\d+");
    }

    private static void logDirs() throws Exception {
        String t = name("log-dirs");
        Driver.topic(t, 1, Map.of());
        toolWith("a\n", "ConsoleProducer", "--topic", t);
        has(tool("LogDirsCommand", "--describe", "--topic-list", t), "\"partition\":\"" + t + "-0\",\"size\":[1-9]");
    }

    private static Path json(String text) throws Exception {
        return Files.writeString(Files.createTempFile(Path.of("."), "tool", ".json"), text);
    }

    private static void deleteRecords() throws Exception {
        String t = name("delete-records");
        Driver.topic(t, 1, Map.of());
        toolWith("a\nb\nc\n", "ConsoleProducer", "--topic", t);
        Path f = json("{\"partitions\":[{\"topic\":\"" + t + "\",\"partition\":0,\"offset\":2}],\"version\":1}");
        has(tool("DeleteRecordsCommand", "--offset-json-file", f.toString()), "low_watermark: 2");
        has(tool("GetOffsetShell", "--topic", t, "--time", "-2"), t + ":0:2");
    }

    private static void transactions() throws Exception {
        String t = name("transactions"), id = name("transactions-id");
        Driver.topic(t, 1, Map.of());
        tool("ProducerPerformance", "--topic", t, "--num-records", "100", "--record-size", "10", "--throughput", "-1", "--transactional-id", id, "--transaction-duration-ms", "50");
        Driver.until("it is listed", () -> {
            has(tool("TransactionsCommand", "list"), id + "\\s+1\\s+\\d+\\s+CompleteCommit");
            return true;
        });
        has(tool("TransactionsCommand", "describe", "--transactional-id", id), id + "\\s+\\d+\\s+\\d+\\s+CompleteCommit");
        has(tool("TransactionsCommand", "describe-producers", "--topic", t, "--partition", "0"), "ProducerId");
        tool("TransactionsCommand", "find-hanging", "--broker-id", "1");
    }

    private static void features() throws Exception {
        has(tool("FeatureCommand", "describe"), "Feature: group.version\\s.*FinalizedVersionLevel: 1", "Feature: transaction.version\\s.*FinalizedVersionLevel: 2", "Feature: metadata.version\\s");
    }

    private static void apiVersions() throws Exception {
        has(tool("BrokerApiVersionsCommand"), "Produce\\(0\\): 0 to 13 ", "ConsumerGroupHeartbeat\\(68\\): ", "ApiVersions\\(18\\): 0 to 4 ");
    }

    private static void perf() throws Exception {
        String t = name("perf");
        Driver.topic(t, 2, Map.of());
        has(tool("ProducerPerformance", "--topic", t, "--num-records", "20000", "--record-size", "200", "--throughput", "-1"), "20000 records sent");
        has(tool("ProducerPerformance", "--topic", t, "--num-records", "2000", "--record-size", "200", "--throughput", "-1", "--transactional-id", name("perf-id"),
            "--transaction-duration-ms", "100"), "2000 records sent");
        String read = tool("ConsumerPerformance", "--topic", t, "--num-records", "22000", "--timeout", "20000");
        Driver.check(read.lines().anyMatch(l -> l.contains(", 22000, ") || l.contains(", 2200")), "not all records were read: %s", read);
    }

    private static void endToEnd() throws Exception {
        String t = name("end-to-end");
        Driver.topic(t, 1, Map.of());
        has(tool("EndToEndLatency", "--topic", t, "--num-records", "200", "--producer-acks", "all", "--record-size", "100"), "Avg latency", "Percentiles");
    }

    private static void console() throws Exception {
        String t = name("console");
        Driver.topic(t, 1, Map.of());
        toolWith("h1:x,h2:y\tk1\tv1\nh1:z\tk2\tNULL\n", "ConsoleProducer", "--topic", t, "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "null.marker=NULL");
        has(tool("consumer.ConsoleConsumer", "--topic", t, "--from-beginning", "--max-messages", "2", "--timeout-ms", "20000", "--formatter-property", "print.key=true",
            "--formatter-property", "print.headers=true", "--formatter-property", "print.offset=true", "--formatter-property", "null.literal=nothing"),
            "^Offset:0\th1:x,h2:y\tk1\tv1$", "^Offset:1\th1:z\tk2\tnothing$");
    }

    private static void verifiable() throws Exception {
        String t = name("verifiable");
        Driver.topic(t, 3, Map.of());
        String produced = process("VerifiableProducer", "--topic", t, "--max-messages", "5000", "--throughput", "-1");
        has(produced, "\"acked\":5000");
        System.err.println(produced.lines().filter(l -> !l.contains("producer_send_success")).collect(Collectors.joining("\n")));
        String consumed = process("VerifiableConsumer", "--topic", t, "--group-id", name("verifiable-group"), "--max-messages", "5000");
        java.util.regex.Matcher counts = Pattern.compile("\"records_consumed\",\"count\":(\\d+)|\"count\":(\\d+)(?=[^\\n]*\"records_consumed\")").matcher(consumed);
        int n = 0;
        while (counts.find()) n += Integer.parseInt(counts.group(1) == null ? counts.group(2) : counts.group(1));
        Driver.check(n == 5000, "%d of 5000 were consumed: %s", n, consumed.lines().filter(l -> l.contains("consumed")).limit(2).collect(Collectors.toList()));
        has(consumed, "\"success\":true");
        Driver.check(IntStream.range(0, 3).allMatch(p -> consumed.contains("\"partition\":" + p)), "a partition is missing");
    }
}
