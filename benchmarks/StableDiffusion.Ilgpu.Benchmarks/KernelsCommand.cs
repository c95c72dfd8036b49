using System.CommandLine;
using System.Runtime.InteropServices;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary><c>kernels</c>: the distinct launches of a model's UNet step and VAE decode, each timed by itself.</summary>
internal static class KernelsCommand
{
    private delegate int ProfilerMark();

    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(0.3);

    /// <summary>Of launches before a wait, on a GPU.</summary>
    private static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(5);

    public static Command Create()
    {
        var (name, size, device, pictures) = (SharedOptions.Model(), SharedOptions.Size(), SharedOptions.Device(), SharedOptions.Pictures());
        var filter = new Option<string>("--filter") { Description = "Only cases that contain this text", DefaultValueFactory = _ => "" };
        var profile = new Option<string?>("--profile")
        {
            Description = "Time nothing: run every launch once, marked for NVIDIA's profiler (ncu --profile-from-start off), and write them in their order to this file",
        };
        var command = new Command("kernels", "Time the operators of a model at the shapes that they have in it.")
        {
            name, size, device, pictures, filter, profile,
        };
        command.SetAction(parsed =>
        {
            var (model, found) = (parsed.GetValue(name)!, ComputeDevice.Find(parsed.GetValue(device)!));
            if (parsed.GetValue(profile) is { } file)
            {
                Profile(model, parsed.GetValue(size), found, parsed.GetValue(pictures), file);
            }
            else
            {
                Run(model, parsed.GetValue(size), found, parsed.GetValue(pictures), parsed.GetValue(filter)!);
            }
        });
        return command;
    }

    /// <summary>A launch may be two kernels: where parts of a depth are summed apart, another one adds them.</summary>
    private static void Profile(string name, int size, ComputeDevice device, int pictures, string file)
    {
        if (device.Kind != DeviceKind.Cuda)
        {
            throw new StableDiffusionException($"--profile: {device.Name} is no CUDA device");
        }

        SharedOptions.Progress($"loading {name}");
        using var model = BenchmarkModel.Open(name, size, device, pictures);
        var lines = new List<string>();
        foreach (var (title, program) in new[] { ("UNet step", model.PrepareStep()), ("VAE decode", model.PrepareDecode()) })
        {
            SharedOptions.Progress(title);
            lines.AddRange(program.Launches.Select(l => $"{title}\t{NodeKind.Describe(l)}\t{l.Kernel}\t{l.Flops:0}"));
            _ = Mark("cuProfilerStart")();
            program.Run();
            model.Session.Stream.Synchronize();
            _ = Mark("cuProfilerStop")();
        }

        SharedOptions.Save(file, string.Join('\n', lines) + "\n");
    }

    private static Func<int> Mark(string function) => Marshal.GetDelegateForFunctionPointer<ProfilerMark>(
        NativeLibrary.GetExport(NativeLibrary.Load(GpuProbe.CudaName), function)).Invoke;

    private static void Run(string name, int size, ComputeDevice device, int pictures, string filter)
    {
        var circumstances = Circumstances.Collect(device);
        SharedOptions.Progress("the machine's peak");
        var peak = MachinePeak.Measure(device);
        SharedOptions.Progress($"loading {name}");
        using var model = BenchmarkModel.Open(name, size, device, pictures);
        foreach (var line in circumstances.Lines())
        {
            Console.Out.WriteLine($"- {line}");
        }

        Console.Out.WriteLine($"- sizes: {name}, picture {size}x{size}, UNet batch {model.Items}, VAE batch 1");
        Console.Out.WriteLine($"- {peak.Title}: {peak.Gflops:0.0} GFLOP/s; copy: {peak.CopyGBps:0.0} GB/s");
        Console.Out.WriteLine("- each case by itself, so its operands may still lie in a cache"
            + (model.Session.IsProcessor ? "" : "; many launches between two waits, as a step has them"));
        Console.Out.WriteLine();
        Print("UNet step", model.PrepareStep());
        Print("VAE decode", model.PrepareDecode());

        void Print(string title, ComputeProgram<ushort> program)
        {
            var groups = program.Launches.GroupBy(NodeKind.Describe)
                .Where(c => c.Key.Contains(filter, StringComparison.OrdinalIgnoreCase))
                .ToArray();
            if (groups.Length == 0)
            {
                Console.Out.WriteLine($"{title}: no case contains '{filter}'");
                return;
            }

            // Operands of their usual size: what the memory holds before the first run could be anything.
            SharedOptions.Progress(title);
            program.Run();
            var table = new MarkdownTable(
                $"{title}: rows x columns x depth", "kernel", "times", "ms each", "ms all", "GFLOP/s", "GB/s", "of peak");
            var cases = groups.Select(c => (Name: c.Key, Launch: c.First(), Count: c.Count(), Milliseconds: Time(model, c.First())));
            foreach (var (description, launch, count, milliseconds) in cases.OrderByDescending(c => c.Count * c.Milliseconds))
            {
                var gflops = launch.Flops / milliseconds / 1e6;
                var gbps = NodeKind.Bytes(launch) / milliseconds / 1e6;
                table.Add(
                    description, launch.Kernel, $"{count}", $"{milliseconds:0.000}", $"{count * milliseconds:0.0}",
                    launch.Flops > 0 ? $"{gflops:0.0}" : "", $"{gbps:0.0}",
                    launch.Flops > 0 ? $"{gflops / peak.Gflops:0 %}" : $"{gbps / peak.CopyGBps:0 %}");
            }

            Console.Out.WriteLine(table);
        }
    }

    /// <summary>Milliseconds of a launch. A GPU takes longer to say that it is done than many launches take: several run before each wait.</summary>
    private static double Time(BenchmarkModel model, Launch<ushort> launch)
    {
        var stream = model.Session.Stream;
        var counters = model.Workspace.Counters;
        var single = Median.Milliseconds(1, () => Run(1));
        var repeats = model.Session.IsProcessor ? 1 : (int)Math.Clamp(Burst.TotalMilliseconds / single, 1, counters.Length);
        return Median.Milliseconds(Budget, () => Run(repeats)) / repeats;

        void Run(int count)
        {
            counters.SubView(0, count).MemSetToZero(stream);
            for (var i = 0; i < count; i++)
            {
                launch.Run(new LaunchContext<ushort>
                {
                    Stream = stream,
                    Arena = model.Workspace.Arena,
                    Scratch = model.Workspace.Scratch,
                    Moments = model.Workspace.Moments,
                    Counter = counters.SubView(i, 1),
                });
            }

            stream.Synchronize();
        }
    }
}
