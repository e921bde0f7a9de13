import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;

import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

/**
 * What Kafka's own client makes of keys. The arguments are a file with a key in
 * each line, in hex, and numbers of partitions; a line of output is the key's
 * hash and its partition among each.
 */
public class Partitions {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.US_ASCII);
        try (BufferedReader keys = Files.newBufferedReader(Path.of(args[0]))) {
            for (String line = keys.readLine(); line != null; line = keys.readLine()) {
                byte[] key = HexFormat.of().parseHex(line);
                out.print(Utils.murmur2(key));
                for (int i = 1; i < args.length; i++) {
                    out.print(' ');
                    out.print(BuiltInPartitioner.partitionForKey(key, Integer.parseInt(args[i])));
                }
                out.print('\n');
            }
        }
        out.flush();
    }
}
