using System.Globalization;
using System.Runtime.InteropServices;

namespace Intercommunalite.Benchmarks;

/// <summary>What the figures were measured on.</summary>
/// <param name="Processor">Model of the processor.</param>
/// <param name="Cores">Cores that this process may use.</param>
/// <param name="MemoryBytes">Memory.</param>
/// <param name="System">Operating system.</param>
/// <param name="Runtime">Version of .NET.</param>
/// <param name="PostgreSql">Version of PostgreSQL.</param>
/// <param name="RabbitMq">Version of RabbitMQ.</param>
/// <param name="FsyncMilliseconds">Median time to write 4 KiB to the disk for good, where the servers and the journals lie.</param>
internal sealed record Machine(
    string Processor, int Cores, long MemoryBytes, string System, string Runtime, string PostgreSql, string RabbitMq, double FsyncMilliseconds)
{
    private const int Writes = 101;

    public static async Task<Machine> DescribeAsync(Pipeline pipeline, CancellationToken cancellation)
    {
        await using var version = pipeline.DataSource.CreateCommand("SHOW server_version");
        await using var bus = await new RabbitMQ.Client.ConnectionFactory { Uri = pipeline.Bus }.CreateConnectionAsync(cancellation);
        return new(
            ValueOf("/proc/cpuinfo", "model name"),
            Environment.ProcessorCount,
            long.Parse(ValueOf("/proc/meminfo", "MemTotal").Split(' ')[0], CultureInfo.InvariantCulture) * 1024,
            RuntimeInformation.OSDescription,
            RuntimeInformation.FrameworkDescription,
            (string)(await version.ExecuteScalarAsync(cancellation))!,
            bus.ServerProperties?["version"] is byte[] text ? global::System.Text.Encoding.ASCII.GetString(text) : "unknown",
            Fsync());
    }

    private static string ValueOf(string file, string name) =>
        File.ReadLines(file).FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?.Split(':', 2)[1].Trim() ?? "unknown";

    private static double Fsync()
    {
        var path = Path.GetTempFileName();
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.None, bufferSize: 0);
            var (block, times) = (new byte[4096], new double[Writes]);
            for (var i = 0; i < Writes; i++)
            {
                var begin = global::System.Diagnostics.Stopwatch.GetTimestamp();
                file.Write(block);
                file.Flush(flushToDisk: true);
                times[i] = global::System.Diagnostics.Stopwatch.GetElapsedTime(begin).TotalMilliseconds;
            }

            return times.Order().ElementAt(Writes / 2);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
