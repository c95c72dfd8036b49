using System.CommandLine;
using StableDiffusion.Ilgpu;
using StableDiffusion.Ilgpu.Benchmarks;
using StableDiffusion.Ilgpu.Benchmarks.Compare;
using StableDiffusion.Ilgpu.Benchmarks.OpenCl;
using StableDiffusion.Ilgpu.Benchmarks.Ptx;
using StableDiffusion.Ilgpu.Benchmarks.Serving;

var root = new RootCommand("Benchmarks. Every number comes with the device, the commit, the sizes and the machine's own peak beside it.")
{
    ModelCommand.Create(),
    CompareCommand.Create(),
    ServeCommand.Create(),
    KernelsCommand.Create(),
    PtxCommand.Create(),
    ClCodeCommand.Create(),
    LoadCommand.Create(),
    StartCommand.Create(),
    MicroCommand.Create(),
    MemoryCommand.Create(),
    LoadProbe.CreateCommand(),
    FileReading.CreateProbeCommand(),
    FuzzCommand.Create(),
};
try
{
    return root.Parse(args).Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (StableDiffusionException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 1;
}
