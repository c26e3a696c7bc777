using System.Globalization;

namespace Intercommunalite.Benchmarks;

/// <summary>What a process, or a server of several, has used so far.</summary>
/// <param name="Name">Which one.</param>
/// <param name="CpuSeconds">CPU time, of its ended children too.</param>
/// <param name="MemoryBytes">Resident memory; pages that its processes share are counted once.</param>
internal readonly record struct Usage(string Name, double CpuSeconds, long MemoryBytes);

/// <summary>CPU time and memory of everything that is measured, from <c>/proc</c>.</summary>
/// <param name="roots">Name and process id; for a server its first process, whose descendants count with it.</param>
internal sealed class Processes(params IReadOnlyList<(string Name, int Id, bool IsServer)> roots)
{
    // USER_HZ: 100 on every Linux that .NET runs on.
    private const double TicksInASecond = 100;

    public IReadOnlyList<Usage> Read()
    {
        var all = roots.Any(root => root.IsServer) ? Children() : [];
        return [.. roots.Select(root => Read(root.Name, root.IsServer ? Tree(root.Id, all) : [root.Id], root.IsServer))];
    }

    /// <summary>CPU time of the whole machine, other people's processes and the hypervisor's share (steal) included.</summary>
    public static double MachineCpuSeconds()
    {
        // user nice system idle iowait irq softirq steal
        var times = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..9]
            .Select(ticks => double.Parse(ticks, CultureInfo.InvariantCulture)).ToArray();
        return (times.Sum() - times[3] - times[4]) / TicksInASecond;
    }

    private static Usage Read(string name, IEnumerable<int> ids, bool isServer)
    {
        double cpu = 0;
        long own = 0, shared = 0;
        foreach (var id in ids)
        {
            if (Stat(id) is not { } stat) continue;
            // utime stime cutime cstime, counted from the state, which is field 3.
            cpu += stat[11..(isServer ? 15 : 13)].Sum(ticks => double.Parse(ticks, CultureInfo.InvariantCulture)) / TicksInASecond;
            var memory = Memory(id);
            own += memory.Own;
            shared = Math.Max(shared, memory.Shared);
        }

        return new(name, cpu, own + shared);
    }

    private static (long Own, long Shared) Memory(int id)
    {
        try
        {
            long own = 0, shared = 0;
            foreach (var line in File.ReadLines($"/proc/{id}/status").Where(line => line.StartsWith("Rss", StringComparison.Ordinal)))
            {
                var bytes = long.Parse(line.Split(':')[1].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) * 1024;
                if (line.StartsWith("RssAnon", StringComparison.Ordinal)) own += bytes;
                else shared += bytes;
            }

            return (own, shared);
        }
        catch (IOException)
        {
            return (0, 0);
        }
    }

    private static List<int> Tree(int root, Dictionary<int, List<int>> children)
    {
        List<int> tree = [root];
        for (var i = 0; i < tree.Count; i++) tree.AddRange(children.GetValueOrDefault(tree[i], []));
        return tree;
    }

    private static Dictionary<int, List<int>> Children() => Directory.GetDirectories("/proc")
        .Select(path => int.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : 0)
        .Where(id => id != 0)
        .Select(id => (Id: id, Stat: Stat(id)))
        .Where(process => process.Stat is not null)
        .GroupBy(process => int.Parse(process.Stat![1], CultureInfo.InvariantCulture), process => process.Id)
        .ToDictionary(group => group.Key, group => group.ToList());

    // The fields from the state on: the name before it may hold anything. Null when the process has ended.
    private static string[]? Stat(int id)
    {
        try
        {
            var text = File.ReadAllText($"/proc/{id}/stat");
            return text[(text.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }
}
