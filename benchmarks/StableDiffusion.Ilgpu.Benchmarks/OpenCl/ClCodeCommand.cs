using System.CommandLine;

namespace StableDiffusion.Ilgpu.Benchmarks.OpenCl;

/// <summary>
/// <c>opencl-code</c>: the kernels for GPUs as OpenCL C, compiled for AMD's and Intel's GPUs without one, where those vendors' compilers are there.
/// </summary>
internal static class ClCodeCommand
{
    /// <summary>RDNA 2, CDNA 2, Xe-LP (the integrated GPUs since Tiger Lake), Arc.</summary>
    private static readonly string[] DefaultTargets = ["gfx1030", "gfx90a", "tgllp", "dg2"];

    public static Command Create()
    {
        var targets = new Option<string[]>("--target")
        {
            Description = "GPU, several times for several: gfx… is AMD's, as clang names it, all others are Intel's, as ocloc does; AMD's newer ones need newer device libraries (HIP_DEVICE_LIB_PATH)",
            DefaultValueFactory = _ => DefaultTargets,
        };
        var output = new Option<string?>("--output") { Description = "Folder to keep the OpenCL C in, and what is made of it" };
        var command = new Command("opencl-code", "Compile every kernel for GPUs with AMD's and Intel's compilers, without a GPU, and look at what they make of it.")
        {
            targets, output,
        };
        command.SetAction(parsed => OutputFolder.Use(parsed.GetValue(output), folder => Run(parsed.GetValue(targets)!, folder)));
        return command;
    }

    private static int Run(string[] targets, string folder)
    {
        var problems = new List<string>();
        var (amd, intel) = (AmdCompiler.Find(), IntelCompiler.Find());
        if (amd is null)
        {
            Console.Out.WriteLine("AMD's GPUs are left out: clang or AMD's device libraries were not found (Debian's packages clang-19 and rocm-device-libs)");
        }

        if (intel is null)
        {
            Console.Out.WriteLine("Intel's GPUs are left out: ocloc was not found (Debian's packages intel-opencl-icd, and libigc-dev to look into loops)");
        }

        foreach (var target in targets.Distinct())
        {
            IGpuCompiler? compiler = AmdCompiler.Serves(target) ? amd : intel;
            if (compiler is not null)
            {
                Console.Out.WriteLine(Table(compiler, target, folder, problems));
            }
        }

        foreach (var problem in problems)
        {
            Console.Error.WriteLine($"error: {problem}");
        }

        return problems.Count > 0 ? 1 : 0;
    }

    private static MarkdownTable Table(IGpuCompiler compiler, string target, string folder, List<string> problems)
    {
        SharedOptions.Progress($"kernels for {target}");
        using var code = new ClCode(compiler.Vendor, compiler.Language, compiler.UnitOf(target));
        var files = code.Kernels.Select(Save).ToArray();
        var compiled = new GpuBinary?[files.Length];
        var refused = new string?[files.Length];
        Parallel.For(0, files.Length, ChildProcess.OneEachCore, i =>
        {
            try
            {
                compiled[i] = compiler.Compile(files[i], target);
            }
            catch (StableDiffusionException e)
            {
                refused[i] = e.Message;
            }
        });
        var table = new MarkdownTable(
            $"{target} kernel", "registers", "spilled", "local bytes", "instructions", "matrix products in main loop", "multiply-adds", "of its instructions", "spills among them");
        for (var i = 0; i < files.Length; i++)
        {
            var name = code.Kernels[i].Name;
            if (compiled[i] is not { } binary)
            {
                continue;
            }

            var loop = binary.Code?.CodeOfHottestLoop(compiler.IsProduct) ?? [];
            loop = loop.Count > 0 ? loop : binary.Code?.CodeOfHottestLoop(compiler.IsMultiplyAdd) ?? [];
            table.Add(
                name, $"{binary.Registers}", $"{binary.Spills}", $"{binary.LocalBytes}", $"{binary.Code?.Instructions.Count}",
                loop.Count(compiler.IsProduct) is > 0 and var products ? $"{products}" : "", loop.Count > 0 ? $"{loop.Count(compiler.IsMultiplyAdd)}" : "", loop.Count > 0 ? $"{loop.Count}" : "",
                loop.Count > 0 ? $"{loop.Count(compiler.IsSpill)}" : "");
        }

        foreach (var refusal in code.Kernels.Zip(refused, (kernel, reason) => (kernel.Name, Reason: reason)).Where(r => r.Reason is not null).GroupBy(r => r.Reason, r => r.Name))
        {
            var which = refusal.Count() == files.Length ? "every kernel" : string.Join(", ", refusal);
            problems.Add($"{target}: the compiler refuses {which}: {refusal.Key}");
        }

        return table;

        string Save(ClKernel kernel)
        {
            var file = Path.Combine(folder, $"{kernel.Name.Replace(' ', '-')}.{target}.cl");
            File.WriteAllText(file, kernel.Text);
            return file;
        }
    }
}
