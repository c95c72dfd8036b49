using System.CommandLine;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary><c>micro</c>: BenchmarkDotNet on what runs on the host and on the SIMD leaves, one core each.</summary>
internal static class MicroCommand
{
    public static Command Create()
    {
        var filter = new Option<string>("--filter")
        {
            Description = "Benchmarks to run, for example *Leaf*",
            DefaultValueFactory = _ => "*",
        };
        var command = new Command("micro", "Time host code and SIMD leaves with BenchmarkDotNet (a short job).") { filter };
        command.SetAction(parsed =>
        {
            foreach (var line in Circumstances.Collect(ComputeDevice.Processor).Lines())
            {
                Console.Out.WriteLine($"- {line}");
            }

            // In this process: nothing has to be built, and internal types stay internal.
            var config = DefaultConfig.Instance.AddJob(Job.ShortRun.WithToolchain(new InProcessEmitToolchain(logOutput: true)));
            BenchmarkSwitcher.FromAssembly(typeof(MicroCommand).Assembly).Run(["--filter", parsed.GetValue(filter)!], config);
        });
        return command;
    }
}
