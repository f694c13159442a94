import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.Transformation;

/** Gives an envelope the key that Debezium gives it: {"id":N}. */
public final class IdKey implements Transformation<SourceRecord> {
    private static final ObjectMapper JSON = new ObjectMapper();

    @Override
    public SourceRecord apply(SourceRecord r) {
        try {
            JsonNode envelope = JSON.readTree((String) r.value());
            JsonNode row = envelope.get("after").isNull() ? envelope.get("before") : envelope.get("after");
            return r.newRecord(r.topic(), r.kafkaPartition(), Schema.STRING_SCHEMA, "{\"id\":" + row.get("id") + "}", r.valueSchema(), r.value(), r.timestamp());
        } catch (java.io.IOException e) {
            throw new org.apache.kafka.connect.errors.DataException(e);
        }
    }

    @Override
    public ConfigDef config() {
        return new ConfigDef();
    }

    @Override
    public void configure(Map<String, ?> configs) {
    }

    @Override
    public void close() {
    }
}
