using StableDiffusion.Ilgpu.Tests.Samples;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// A corpus of damaged and malicious files: every one ends in one line, soon, and without an allocation beyond twice the file and a
/// constant. What is not on the managed heap is mapped from the file itself.
/// </summary>
public sealed class DamagedFileTests
{
    private const int FewestCases = 200;

    [Fact]
    public void Every_damaged_file_is_refused_in_one_line()
    {
        using var folder = new TemporaryFolder();
        var readers = FileReader.All.ToDictionary(r => r.Name);
        var counts = new Dictionary<string, int>();
        var largest = (Bytes: 0L, Case: "");
        var failures = new List<string>();
        foreach (var (name, title, bytes) in DamagedTorchFiles.All().Concat(DamagedJsonFiles.All()))
        {
            var (length, read) = readers[name].Prepare(folder.Path, bytes);
            var (error, finding, allocated) = WatchedRead.Run(length, read);
            counts[name] = counts.GetValueOrDefault(name) + 1;
            largest = allocated - (2 * length) > largest.Bytes ? (allocated - (2 * length), $"{name}: {title}") : largest;
            if (finding is not null || error is null)
            {
                failures.Add($"{name}, {title}: {finding ?? "is accepted"}");
            }
        }

        var output = TestContext.Current.TestOutputHelper!;
        output.WriteLine($"{counts.Values.Sum()} damaged files: {string.Join(", ", counts.Select(c => $"{c.Value} {c.Key}"))}");
        output.WriteLine($"largest allocation beyond twice the file: {largest.Bytes / 1024} KiB ({largest.Case})");
        Assert.Empty(failures);
        Assert.True(counts.Values.Sum() >= FewestCases);
    }

    [Fact]
    public void Every_valid_sample_is_read()
    {
        using var folder = new TemporaryFolder();
        foreach (var reader in FileReader.All)
        {
            foreach (var sample in reader.Samples)
            {
                var (length, read) = reader.Prepare(folder.Path, sample);
                var (error, finding, _) = WatchedRead.Run(length, read);
                Assert.True(finding is null, $"{reader.Name}: {finding}");

                // An archive around the second pickle lacks its storages.
                Assert.True(error is null || reader.Name == "pickle", $"{reader.Name}: {error?.Message}");
            }
        }
    }

    [Fact]
    public void A_thousand_mutations_of_each_reader_end_well()
    {
        using var folder = new TemporaryFolder();
        foreach (var reader in FileReader.All)
        {
            for (var number = 0; number < 1000; number++)
            {
                var (length, read) = reader.Prepare(folder.Path, Mutation.Make(reader, seed: 2, number));
                var (_, finding, _) = WatchedRead.Run(length, read);
                Assert.True(finding is null, $"{reader.Name}, input {number}: {finding}");
            }
        }
    }

    [Fact]
    public void Mutations_are_the_same_every_time()
    {
        var reader = FileReader.All[0];
        Assert.Equal(Mutation.Make(reader, 5, 77), Mutation.Make(reader, 5, 77));
        Assert.NotEqual(Mutation.Make(reader, 5, 77), Mutation.Make(reader, 6, 77));
    }

    [Fact]
    public void A_reader_that_misbehaves_is_found()
    {
        Assert.Null(WatchedRead.Run(10, () => { }).Finding);
        Assert.Null(WatchedRead.Run(10, () => throw new StableDiffusionException("x: is damaged")).Finding);
        Assert.Contains("throws InvalidCastException", WatchedRead.Run(10, () => throw new InvalidCastException()).Finding, StringComparison.Ordinal);
        Assert.Contains("is not one line", WatchedRead.Run(10, () => throw new StableDiffusionException("")).Finding, StringComparison.Ordinal);
        Assert.Contains(
            "allocates", WatchedRead.Run(10, () => GC.KeepAlive(new byte[WatchedRead.AllocationConstant + 100])).Finding, StringComparison.Ordinal);

        // The exception itself sees to it that no text of a file breaks the line.
        Assert.Equal("x:  a  b", new StableDiffusionException("x: \na\u001b\u2028b").Message);
        Assert.True(new StableDiffusionException(new string('x', 100_000)).Message.Length < 3000);
    }
}
