using System.CommandLine;
using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>
/// <c>ptx</c>: the CUDA backend's kernels as PTX, checked without a GPU, and assembled where NVIDIA's <c>ptxas</c> is there.
/// </summary>
internal static class PtxCommand
{
    private const int ShownMultiprocessors = 132;

    private static readonly string[] DefaultArchitectures = ["sm_61", "sm_75", "sm_80", "sm_86", "sm_90"];

    public static Command Create()
    {
        var architectures = new Option<string[]>("--arch")
        {
            Description = "Architecture, several times for several",
            DefaultValueFactory = _ => DefaultArchitectures,
        };
        var assembler = new Option<string?>("--ptxas") { Description = "NVIDIA's assembler [default: the one on the PATH, if any]" };
        var output = new Option<string?>("--output") { Description = "Folder to keep the PTX in, and what is made of it" };
        var command = new Command("ptx", "Compile every CUDA kernel without a GPU, check it, and assemble it where ptxas is there.")
        {
            architectures, assembler, output,
        };
        command.SetAction(parsed =>
        {
            var ptxas = Ptxas.Find(parsed.GetValue(assembler));
            return OutputFolder.Use(parsed.GetValue(output), folder => Run(parsed.GetValue(architectures)!, ptxas, folder));
        });
        return command;
    }

    private static int Run(string[] architectures, Ptxas? ptxas, string folder)
    {
        var problems = new List<string>();
        Console.Out.WriteLine(ptxas is null
            ? "ptxas was not found: nothing is assembled, only the PTX is checked (NVIDIA's CUDA toolkit has it; Debian's is nvidia-cuda-toolkit, non-free)"
            : $"ptxas {ptxas.Release()}{(ptxas.Disassembles ? "" : "; nvdisasm was not found, so instructions are counted in PTX")}");
        foreach (var architecture in architectures.Distinct())
        {
            SharedOptions.Progress($"kernels for {architecture}");
            using var code = new CudaCode(architecture);
            CudaModels.Compile(code);
            if (code.HasTensorCode)
            {
                TensorPeak.Load(code.Loader, code.HasWarpgroups);
            }

            Console.Out.WriteLine();
            Console.Out.WriteLine(Table(code, ptxas, folder, problems));
            if (architecture == architectures[^1])
            {
                PrintLaunches(code);
                PrintMemory(code);
            }
        }

        foreach (var problem in problems)
        {
            Console.Error.WriteLine($"error: {problem}");
        }

        return problems.Count > 0 ? 1 : 0;
    }

    private static void PrintMemory(CudaCode code)
    {
        var (together, inTurns) = code.GenerationBytes(CudaModels.Generation("sd15", 512), ShownMultiprocessors);
        Console.Out.WriteLine();
        Console.Out.WriteLine(
            $"weights, arena and scratch memory of sd15 at 512x512 on {ShownMultiprocessors} multiprocessors: {together:N0} bytes, with --offload {inTurns:N0}");
    }

    private static MarkdownTable Table(CudaCode code, Ptxas? ptxas, string folder, List<string> problems)
    {
        var architecture = code.Architecture;
        var table = new MarkdownTable(
            $"{architecture} kernel", "work-items", "registers", "spilled bytes", "shared bytes", "tensor instructions", "in main loop", "of its instructions", "ms to assemble");
        var files = code.Kernels.Select((kernel, i) => (Kernel: kernel, File: Save(kernel, i))).ToArray();
        var assembled = new Assembled?[files.Length];
        var refused = new string?[files.Length];
        if (ptxas is not null)
        {
            SharedOptions.Progress($"assembling {files.Length} kernels for {architecture}");
            Parallel.For(0, files.Length, ChildProcess.OneEachCore, i =>
            {
                try
                {
                    assembled[i] = ptxas.Assemble(files[i].File, files[i].Kernel.UsesWarpgroups ? "sm_90a" : architecture);
                }
                catch (StableDiffusionException e)
                {
                    refused[i] = e.Message;
                }
            });
        }

        for (var i = 0; i < files.Length; i++)
        {
            var (kernel, machine) = (files[i].Kernel, assembled[i]);
            var listing = machine?.Code ?? CodeListing.FromPtx(kernel.Text);
            var count = listing.Instructions.Count(PtxKernel.IsTensorInstruction);
            var loop = listing.HottestLoop(PtxKernel.IsTensorInstruction);
            table.Add(
                kernel.Name, kernel.GroupSize > 0 ? $"{kernel.GroupSize}" : "", machine is null ? "" : $"{machine.Registers}",
                machine is null ? "" : $"{machine.SpillBytes}", $"{kernel.SharedBytes}", count > 0 ? $"{count}" : "",
                loop is null ? "" : $"{loop.Counted}", loop is null ? "" : $"{loop.Length}", machine is null ? "" : $"{machine.Time.TotalMilliseconds:0}");
            problems.AddRange(kernel.Problems().Concat(Problems(kernel, machine, refused[i], loop)).Select(p => $"{architecture} {kernel.Name}: {p}"));
        }

        return table;

        string Save(PtxKernel kernel, int index)
        {
            var name = string.Concat(kernel.Name.Select(c => char.IsLetterOrDigit(c) ? c : '-'));
            var file = Path.Combine(folder, $"{index:00}-{name}.{architecture}.ptx");
            File.WriteAllText(file, kernel.Text);
            return file;
        }
    }

    private static IEnumerable<string> Problems(PtxKernel kernel, Assembled? machine, string? refused, CodeLoop? loop)
    {
        if (refused is not null)
        {
            yield return $"ptxas refuses it: {refused}";
        }

        if (machine is { SpillBytes: > 0 } or { StackBytes: > 0 })
        {
            yield return $"{machine.SpillBytes} bytes of registers are spilled, {machine.StackBytes} bytes of stack";
        }

        if (machine is { SerializesProducts: true })
        {
            yield return "its products by wgmma are waited for one by one";
        }

        if (kernel.HasTensorCode && machine is not null && loop is null)
        {
            yield return "no loop of its machine code has instructions of the tensor cores";
        }
    }

    /// <summary>Which kernels do the work of a step, and how many groups each launch has.</summary>
    private static void PrintLaunches(CudaCode code)
    {
        Print("SD 1.5, UNet step of batch 2 at 512x512", CudaModels.UNet("sd15", 512, 1));
        Print("SD 2.1, UNet step of batch 2 at 768x768", CudaModels.UNet("sd21", 768, 1));
        Print("VAE decode at 512x512", CudaModels.Decoder("sd15", 512));

        void Print(string title, Graph graph)
        {
            var launches = code.Launches(graph, ShownMultiprocessors).Where(l => l.Rate == Rate.Step).ToArray();

            // Where several launches do what the graph asks for, the operations are the first one's: sums of parts come after it.
            var first = launches.DistinctBy(l => l.Asked).ToHashSet();
            var table = new MarkdownTable($"{title}, {ShownMultiprocessors} multiprocessors", "launches", "groups, least", "most", "GFLOP", "of all");
            foreach (var group in launches.GroupBy(l => l.Kernel.Name).OrderByDescending(Flops))
            {
                var flops = Flops(group);
                table.Add(
                    group.Key, $"{group.Count()}", $"{group.Min(l => l.Groups)}", $"{group.Max(l => l.Groups)}",
                    flops > 0 ? $"{flops / 1e9:0.0}" : "", flops > 0 ? $"{flops / Flops(launches):0.0 %}" : "");
            }

            Console.Out.WriteLine(table);
            Console.Out.WriteLine($"on tensor cores: {CudaLaunch.TensorShare(launches):0.00 %} of the operations, in {launches.Length} launches\n");

            double Flops(IEnumerable<CudaLaunch> some) => some.Where(first.Contains).Sum(l => l.Asked.Flops);
        }
    }
}
