using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>NVIDIA's assembler for PTX, and its disassembler where there is one.</summary>
internal sealed partial class Ptxas
{
    /// <summary>Of the assembler's advice where it lets products that run by themselves be waited for one by one.</summary>
    private const string SerializedProducts = "wgmma.mma_async instructions are serialized";

    private readonly string assembler;
    private readonly string? disassembler;

    private Ptxas(string assembler, string? disassembler) => (this.assembler, this.disassembler) = (assembler, disassembler);

    /// <summary>Whether machine code can be looked at.</summary>
    public bool Disassembles => disassembler is not null;

    /// <param name="path">The program; null to look for it on the PATH.</param>
    /// <returns>Null where none was named and none is on the PATH.</returns>
    /// <exception cref="StableDiffusionException">The one named is not there.</exception>
    public static Ptxas? Find(string? path)
    {
        if (path is not null && !File.Exists(path))
        {
            throw new StableDiffusionException($"--ptxas {path}: there is no such file; it is a part of NVIDIA's CUDA toolkit");
        }

        var assembler = path ?? ChildProcess.OnPath("ptxas");
        if (assembler is null)
        {
            return null;
        }

        var beside = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(assembler))!, "nvdisasm");
        return new Ptxas(assembler, File.Exists(beside) ? beside : ChildProcess.OnPath("nvdisasm"));
    }

    /// <summary>The release, as the program names it.</summary>
    public string Release() => ChildProcess.Run(assembler, ["--version"], Environment.CurrentDirectory).Succeeded(assembler)
        .Output.Split('\n').FirstOrDefault(l => l.Contains("release", StringComparison.Ordinal))?.Trim() ?? "of an unknown release";

    /// <summary>Assembles a file beside itself.</summary>
    /// <param name="file">PTX.</param>
    /// <param name="architecture">For example <c>sm_90</c>.</param>
    /// <exception cref="StableDiffusionException">The program refuses it; the message is its first line.</exception>
    public Assembled Assemble(string file, string architecture)
    {
        var binary = Path.ChangeExtension(file, ".cubin");
        var run = ChildProcess.Run(assembler, ["-v", $"-arch={architecture}", "-o", binary, file], Environment.CurrentDirectory);
        if (run.ExitCode != 0)
        {
            throw new StableDiffusionException((run.Error + run.Output).Trim().Split('\n')[0]);
        }

        CodeListing? code = null;
        if (disassembler is not null)
        {
            var text = ChildProcess.Run(disassembler, ["-c", binary], Environment.CurrentDirectory).Succeeded("nvdisasm").Output;
            File.WriteAllText(Path.ChangeExtension(file, ".sass"), text);
            code = CodeListing.FromMachineCode(text);
        }

        var report = run.Error + run.Output;
        return new Assembled(
            Number(Registers(), report), Number(SpillStores(), report) + Number(SpillLoads(), report), Number(Stack(), report),
            report.Contains(SerializedProducts, StringComparison.Ordinal), run.Time, code);
    }

    private static int Number(Regex pattern, string report) => pattern.Match(report) is { Success: true } match ? int.Parse(match.Groups[1].ValueSpan) : 0;

    [GeneratedRegex(@"Used (\d+) registers")]
    private static partial Regex Registers();

    [GeneratedRegex(@"(\d+) bytes spill stores")]
    private static partial Regex SpillStores();

    [GeneratedRegex(@"(\d+) bytes spill loads")]
    private static partial Regex SpillLoads();

    [GeneratedRegex(@"(\d+) bytes stack frame")]
    private static partial Regex Stack();
}

/// <summary>What the assembler made of a kernel.</summary>
/// <param name="Registers">Of a work-item.</param>
/// <param name="SpillBytes">Written to and read from local memory because registers ran out.</param>
/// <param name="StackBytes">Local memory of a work-item.</param>
/// <param name="SerializesProducts">Whether each <c>wgmma</c> is waited for before the next one begins.</param>
/// <param name="Time">What assembling took: a driver takes about as long, for each kernel of a first load.</param>
/// <param name="Code">The machine code; null without a disassembler.</param>
internal sealed record Assembled(int Registers, int SpillBytes, int StackBytes, bool SerializesProducts, TimeSpan Time, CodeListing? Code);
