using StableDiffusion.Ilgpu.Cli;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>Runs <c>sdilgpu pull</c> against a local server with a cache in a folder of its own; nothing of the user's is seen.</summary>
internal sealed class PullRun(PullServer server) : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public string Cache => folder["cache"];

    public Dictionary<string, string> Environment { get; } = new() { ["HF_ENDPOINT"] = server.Address, ["HF_HOME"] = "/no/such/folder" };

    /// <summary>Whether the program thinks that somebody watches.</summary>
    public bool Interactive { get; set; }

    /// <summary>Every file in the cache but locks and records, by its path in the repository's folder.</summary>
    public string[] Files => !Directory.Exists(Cache) ? [] :
    [
        .. Directory.EnumerateFiles(Cache, "*", SearchOption.AllDirectories)
            .Where(f => !f.EndsWith(".lock", StringComparison.Ordinal) && Path.GetFileName(f) != ".sdilgpu.json")
            .Select(f => string.Join('/', Path.GetRelativePath(Cache, f).Split(Path.DirectorySeparatorChar)[4..]))
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>Bytes of random content that is the same in every run.</summary>
    public static byte[] Content(int bytes, int seed = 1)
    {
        var content = new byte[bytes];
        new Random(seed).NextBytes(content);
        return content;
    }

    public CliRun Pull(params string[] arguments) => Run(TestContext.Current.CancellationToken, ["pull", .. arguments]);

    public CliRun Run(CancellationToken cancellation, params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var context = new CommandContext(output, error, Interactive, cancellation)
        {
            Environment = name => Environment.GetValueOrDefault(name),
            FirstRetryDelay = TimeSpan.FromMilliseconds(10),
        };
        var exit = CommandLine.Run([.. arguments, "--cache", Cache], context);
        var run = new CliRun(exit, output.ToString(), error.ToString());
        TestContext.Current.TestOutputHelper?.WriteLine(run.Output + run.Error);
        return run;
    }

    public string PathOf(string file, string folderName = "main") =>
        Path.Combine(Cache, "hub", Path.Combine(server.Repository.Split('/')), folderName, Path.Combine(file.Split('/')));

    public void Dispose() => folder.Dispose();
}
