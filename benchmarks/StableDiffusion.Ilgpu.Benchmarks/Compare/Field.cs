using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>What is to be compared.</summary>
/// <param name="Model">Synthetic model.</param>
/// <param name="Size">Width and height of the picture in pixels.</param>
/// <param name="Devices">Of this library.</param>
/// <param name="Cores">Numbers of cores for the scaling.</param>
/// <param name="Commands">Peers that the user named.</param>
internal sealed record Entrants(
    string Model, int Size, IReadOnlyList<ComputeDevice> Devices, IReadOnlyList<int> Cores, IReadOnlyList<CommandContender> Commands);

/// <summary>A contender that got ready.</summary>
internal sealed record Entry(IContender Contender, Side Side, int Cores, IReadOnlyDictionary<Work, double> Errors);

/// <summary>
/// All contenders that could be had, and in one line each why others could not. A peer takes part only if its results agree with ours.
/// </summary>
internal sealed class Field : IDisposable
{
    /// <summary>Relative L2 distance of a peer's results: ours are kept in fp16, which makes about a fifth of it.</summary>
    public const double DistanceLimit = 1e-2;

    /// <summary>What the names of the TorchSharp peers start with.</summary>
    public const string TorchName = "libtorch";

    private static readonly string[] TorchLayouts = ["channels-last", "default"];

    private readonly Entrants entrants;
    private readonly List<Entry> entries = [];
    private readonly List<string> leftOut = [];

    private Field(Entrants entrants) => this.entrants = entrants;

    public IReadOnlyList<Entry> Entries => entries;

    public IReadOnlyList<string> LeftOut => leftOut;

    /// <summary>GFLOP by piece of work, as our launches state them.</summary>
    public IReadOnlyDictionary<Work, double> Gflop { get; private set; } = new Dictionary<Work, double>();

    /// <exception cref="StableDiffusionException">None of our backends can be had.</exception>
    public static Field Open(Entrants entrants)
    {
        var field = new Field(entrants);
        try
        {
            field.AddOurs();
            field.AddPeers();
            return field;
        }
        catch
        {
            field.Dispose();
            throw;
        }
    }

    /// <summary>Notes that a contender failed while it was measured.</summary>
    /// <exception cref="StableDiffusionException">It was the one that others are compared with.</exception>
    public void Fail(IContender contender, StableDiffusionException error)
    {
        if (contender == entries[0].Contender)
        {
            throw error;
        }

        LeaveOut(error);
    }

    /// <summary>What the rounds gave for those that did not fail.</summary>
    public IReadOnlyList<Result> Results(IReadOnlyList<IReadOnlyDictionary<Work, Series>> times) =>
    [
        .. entries
            .Zip(times, (entry, series) => new Result(
                entry.Contender.Name, entry.Contender.About, entry.Side, entry.Cores, series, entry.Errors,
                series.Count == 0 && entry.Contender is CommandContender command ? command.Seconds : []))
            .Where(r => r.Series.Count > 0 || r.Seconds.Count > 0),
    ];

    public void Dispose()
    {
        foreach (var entry in entries)
        {
            entry.Contender.Dispose();
        }
    }

    private void AddOurs()
    {
        foreach (var device in entrants.Devices)
        {
            Try(() => Start($"this library, {device.Id}", ["--device", device.Id]), contender =>
                entries.Add(new Entry(contender, Side.Ours, Environment.ProcessorCount, new Dictionary<Work, double>())));
        }

        if (entries.Count == 0)
        {
            throw new StableDiffusionException($"nothing to compare: {string.Join("; ", leftOut)}");
        }

        var first = (ServedContender)entries[0].Contender;
        Gflop = Work.All.ToDictionary(w => w, first.Gflop);
        foreach (var work in Work.All)
        {
            KnownWork.Of(entrants.Model, entrants.Size, pictures: 1)?.Check(work, Gflop[work]);
        }

        if (entrants.Devices.Contains(ComputeDevice.Processor))
        {
            foreach (var cores in entrants.Cores.Where(n => n < Environment.ProcessorCount))
            {
                Try(() => Start($"this library, cpu, cores: {cores}", ["--cores", $"{cores}"]), contender =>
                    entries.Add(new Entry(contender, Side.OursOnCores, cores, new Dictionary<Work, double>())));
            }
        }

        ServedContender Start(string name, string[] arguments)
        {
            var (program, all) = ChildProcess.Self([ServeCommand.Name, entrants.Model, "--size", $"{entrants.Size}", .. arguments]);
            return ServedContender.Start(name, program, all);
        }
    }

    private void AddPeers()
    {
        var ours = (ServedContender)entries[0].Contender;
        var reference = Work.All.ToDictionary(w => w, ours.Output);
        var script = Path.Combine(Repository.Root, "benchmarks", "peers", "torch-root.sh");
        foreach (var layout in TorchLayouts)
        {
            string[] arguments =
            [
                script, "--model", entrants.Model, "--size", $"{entrants.Size}", "--cores", $"{Environment.ProcessorCount}", "--layout", layout,
            ];
            Try(() => ServedContender.Start($"{TorchName}, {layout}", "bash", arguments), peer =>
            {
                var errors = Work.All.ToDictionary(w => w, w => RelativeDistance.Of(peer.Output(w), reference[w]));
                foreach (var (work, distance) in errors.Where(e => !(e.Value < DistanceLimit)))
                {
                    throw new StableDiffusionException(
                        $"{peer.Name}: its {work} differs from ours by {distance:0.0e0} (relative L2); at most {DistanceLimit} is the same computation");
                }

                entries.Add(new Entry(peer, Side.Peer, Environment.ProcessorCount, errors));
            });
        }

        entries.AddRange(entrants.Commands.Select(c => new Entry(c, Side.Peer, Environment.ProcessorCount, new Dictionary<Work, double>())));
    }

    private void Try(Func<ServedContender> start, Action<ServedContender> use)
    {
        ServedContender? contender = null;
        try
        {
            contender = start();
            SharedOptions.Progress($"ready: {contender.Name}: {contender.About}");
            use(contender);
        }
        catch (StableDiffusionException e)
        {
            contender?.Dispose();
            LeaveOut(e);
        }
    }

    private void LeaveOut(StableDiffusionException error)
    {
        SharedOptions.Progress($"left out: {error.Message}");
        leftOut.Add(error.Message);
    }
}
