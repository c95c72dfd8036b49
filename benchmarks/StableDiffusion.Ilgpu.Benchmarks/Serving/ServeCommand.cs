using System.CommandLine;
using System.Diagnostics;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Benchmarks.Serving;

/// <summary><c>serve</c>: the child processes of the comparison that are this library's.</summary>
internal static class ServeCommand
{
    public const string Name = "serve";

    public static Command Create()
    {
        var (model, size, device) = (SharedOptions.Model(), SharedOptions.Size(), SharedOptions.Device());
        var cores = new Option<int?>("--cores");
        var command = new Command(Name, "Do a model's work piece by piece, as lines of standard input ask.") { model, size, device, cores };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            using var opened = BenchmarkModel.Open(
                parsed.GetValue(model)!, parsed.GetValue(size), ComputeDevice.Find(parsed.GetValue(device)!), cores: parsed.GetValue(cores));
            Server.Run(new ServedModel(opened), Console.In, Console.Out);
        });
        return command;
    }

    /// <summary>A model of this library; UNet and decoder share an arena, so each run starts with the inputs.</summary>
    private sealed class ServedModel(BenchmarkModel model) : IServedModel
    {
        public string About => $"fp16 storage, fp32 arithmetic, {Cores}";

        private string Cores => model.Session.Groups == 1 ? "1 core" : $"{model.Session.Groups} cores";

        public double? Gflop(Work work) => Graph(work).Step.Launches.Sum(l => l.Flops) / 1e9;

        public double Run(Work work)
        {
            var program = work == Work.UNetStep ? model.PrepareStep() : model.PrepareDecode();
            model.Session.Stream.Synchronize();
            var start = Stopwatch.GetTimestamp();
            program.Run();
            model.Session.Stream.Synchronize();
            return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }

        public float[] Output(Work work) => Graph(work).Read("out");

        private Compilation.CompiledGraph<ushort> Graph(Work work) => work == Work.UNetStep ? model.UNet : model.Decoder;
    }
}
