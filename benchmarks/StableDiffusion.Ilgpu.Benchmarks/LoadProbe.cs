using System.Collections.Concurrent;
using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>What a process measured that did nothing but load a model, as everybody's first load is: with nothing compiled yet.</summary>
/// <param name="Seconds">Of the load.</param>
/// <param name="CpuSeconds">Processor time of it, of all cores.</param>
/// <param name="KernelSeconds">Until all kernels were compiled, on a thread of their own beside the weights; 0 for weights alone.</param>
/// <param name="PeakResidentBytes">The largest resident set.</param>
internal sealed record LoadProbe(double Seconds, double CpuSeconds, double KernelSeconds, long PeakResidentBytes)
{
    public const string Name = "load-probe";

    /// <summary>Loads a folder in a process of its own.</summary>
    /// <exception cref="StableDiffusionException">It failed.</exception>
    public static LoadProbe Run(string folder, bool weightsOnly)
    {
        string[] arguments = [Name, folder];
        var child = ChildProcess.RunSelf(weightsOnly ? [.. arguments, "--weights-only"] : arguments);
        return JsonSerializer.Deserialize<LoadProbe>(child.Succeeded("the load").Output)!;
    }

    public static Command CreateCommand()
    {
        var folder = new Argument<string>("folder");
        var weightsOnly = new Option<bool>("--weights-only");
        var command = new Command(Name, "Load a model and print what it took.") { folder, weightsOnly };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            var path = parsed.GetValue(folder)!;
            using var process = Process.GetCurrentProcess();
            var (start, before) = (Stopwatch.GetTimestamp(), process.TotalProcessorTime);
            using IDisposable loaded = parsed.GetValue(weightsOnly) ? LoadWeights(path) : StableDiffusionPipeline.Load(path);
            var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            process.Refresh();
            var kernels = (loaded as StableDiffusionPipeline)?.Timings.KernelCompile.TotalSeconds ?? 0;
            Console.Out.WriteLine(JsonSerializer.Serialize(
                new LoadProbe(seconds, (process.TotalProcessorTime - before).TotalSeconds, kernels, MemoryUse.PeakOfThisProcess())));
        });
        return command;
    }

    /// <summary>Everything that the pipeline does to the weights, and no kernels.</summary>
    private static Weights LoadWeights(string path)
    {
        DeviceSession? session = null;
        var opening = Dedicated.Start(() => session = DeviceSession.Open(ComputeDevice.Default));
        var model = LoadedModel.Open(path);
        opening.Wait();
        var (weights, size) = (new Weights(model, session!), model.UNetConfig.SampleSize);
        (ModelPart Part, Func<Graph> Record)[] parts =
        [
            (ModelPart.UNet, () => model.RecordUNet(BenchmarkInputs.Items, size, size)),
            (ModelPart.TextEncoder, () => model.RecordText(2)),
            (ModelPart.Vae, () => model.RecordDecoder(size, size)),
        ];
        Dedicated.For(parts.Length, parts.Length, i => weights.Load(parts[i].Part, parts[i].Record()));
        return weights;
    }

    private sealed class Weights(LoadedModel model, DeviceSession session) : IDisposable
    {
        private readonly ConcurrentBag<WeightStore<ushort>> stores = [];

        public void Load(ModelPart part, Graph graph)
        {
            FusionRules.Apply(graph, FusionOptions.All);
            var store = new WeightStore<ushort>(session, model.OpenWeights(part));
            stores.Add(store);
            store.Prepare(graph.Values.Select(v => v.Op), Environment.ProcessorCount);
        }

        public void Dispose()
        {
            foreach (var store in stores)
            {
                store.Dispose();
            }

            session.Dispose();
            model.Dispose();
        }
    }
}
