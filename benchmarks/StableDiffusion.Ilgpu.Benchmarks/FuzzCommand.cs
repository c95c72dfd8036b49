using System.CommandLine;
using System.Diagnostics;
using StableDiffusion.Ilgpu.Tests.Samples;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>
/// <c>fuzz</c>: damaged inputs for every reader of foreign files. An input depends on the seed and its number alone, so that a finding is
/// seen again with <c>--first NUMBER --inputs 1</c>.
/// </summary>
internal static class FuzzCommand
{
    private const int MostFindings = 10;

    private static readonly TimeSpan Hang = TimeSpan.FromSeconds(20);

    public static Command Create()
    {
        var names = FileReader.All.Select(r => r.Name).ToArray();
        var reader = new Argument<string>("reader") { Description = $"all, or one of {string.Join(", ", names)}", DefaultValueFactory = _ => "all" };
        var inputs = new Option<int>("--inputs") { Description = "Inputs for each reader", DefaultValueFactory = _ => 100_000 };
        var seed = new Option<int>("--seed") { Description = "Another seed gives other inputs", DefaultValueFactory = _ => 1 };
        var first = new Option<int>("--first") { Description = "Number of the first input", DefaultValueFactory = _ => 0 };
        reader.AcceptOnlyFromAmong([.. names, "all"]);
        var command = new Command("fuzz", "Give the readers of model files damaged inputs; ends with 1 where one misbehaves.")
        {
            reader, inputs, seed, first,
        };
        command.SetAction(parsed =>
        {
            var chosen = FileReader.All.Where(r => parsed.GetValue(reader) is var name && (name == "all" || name == r.Name));
            var table = new MarkdownTable("reader", "inputs", "accepted", "refused", "largest allocation", "inputs/s", "findings");
            var findings = chosen.Sum(r => Run(r, parsed.GetValue(seed), parsed.GetValue(first), parsed.GetValue(inputs), table));
            Console.Out.Write(table);
            return findings > 0 ? 1 : 0;
        });
        return command;
    }

    /// <summary>In memory where the system has such a place: each input is a new file.</summary>
    private static string CreateFolder()
    {
        const string memory = "/dev/shm";
        return Directory.Exists(memory)
            ? Directory.CreateDirectory(Path.Combine(memory, $"sdilgpu-fuzz-{Environment.ProcessId}")).FullName
            : Directory.CreateTempSubdirectory("sdilgpu-fuzz-").FullName;
    }

    private static int Run(FileReader reader, int seed, int first, int inputs, MarkdownTable table)
    {
        var folder = CreateFolder();
        var (accepted, refused, findings, largest, current) = (0, 0, 0, 0L, -1L);
        var start = Stopwatch.GetTimestamp();
        var inputStart = start;
        using var watch = new Timer(
            _ =>
            {
                if (Stopwatch.GetElapsedTime(Volatile.Read(ref inputStart)) > Hang)
                {
                    Console.Out.WriteLine($"{reader.Name} --seed {seed} --first {Volatile.Read(ref current)} --inputs 1: does not end");
                    Environment.Exit(1);
                }
            },
            null, Hang, TimeSpan.FromSeconds(1));
        try
        {
            for (var number = first; number < first + inputs && findings < MostFindings; number++)
            {
                Volatile.Write(ref current, number);
                Volatile.Write(ref inputStart, Stopwatch.GetTimestamp());
                var (bytes, read) = reader.Prepare(folder, Mutation.Make(reader, seed, number));
                var (error, finding, allocated) = WatchedRead.Run(bytes, read);
                largest = Math.Max(largest, allocated);
                accepted += error is null ? 1 : 0;
                refused += error is null ? 0 : 1;
                if (finding is not null)
                {
                    findings++;
                    Console.Out.WriteLine($"{reader.Name} --seed {seed} --first {number} --inputs 1: {finding}");
                }
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        var perSecond = (accepted + refused) / Stopwatch.GetElapsedTime(start).TotalSeconds;
        table.Add(reader.Name, $"{accepted + refused}", $"{accepted}", $"{refused}", $"{largest / 1024.0:f0} KiB", $"{perSecond:f0}", $"{findings}");
        return findings;
    }
}
