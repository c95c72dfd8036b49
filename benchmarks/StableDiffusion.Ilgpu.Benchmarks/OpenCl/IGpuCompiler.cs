using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Kernels;

namespace StableDiffusion.Ilgpu.Benchmarks.OpenCl;

/// <summary>A vendor's compiler of OpenCL C that needs no device of the vendor.</summary>
internal interface IGpuCompiler
{
    /// <summary>Whose GPUs it compiles for.</summary>
    CLDeviceVendor Vendor { get; }

    /// <summary>The OpenCL C that the vendor's driver compiles.</summary>
    CLCVersion Language { get; }

    /// <summary>The matrix units of a GPU, as the compiler names it; null where it has none that are used.</summary>
    MatrixUnit? UnitOf(string target);

    /// <summary>Compiles a file beside itself.</summary>
    /// <param name="file">OpenCL C.</param>
    /// <param name="target">A GPU, as the compiler names it.</param>
    /// <exception cref="StableDiffusionException">The compiler refuses it; the message is its first error.</exception>
    GpuBinary Compile(string file, string target);

    /// <summary>Whether an instruction multiplies and adds in fp32.</summary>
    bool IsMultiplyAdd(string instruction);

    /// <summary>Whether an instruction multiplies matrices.</summary>
    bool IsProduct(string instruction);

    /// <summary>Whether an instruction of a loop moves a register to or from memory because registers ran out.</summary>
    bool IsSpill(string instruction);
}

/// <summary>What a compiler made of a kernel.</summary>
/// <param name="Registers">Of a work-item; null where the compiler does not say.</param>
/// <param name="Spills">Registers that it had too few of.</param>
/// <param name="LocalBytes">Local memory of a group; null where the compiler does not say.</param>
/// <param name="Code">The machine code; null without a disassembler.</param>
internal sealed record GpuBinary(int? Registers, int Spills, int? LocalBytes, CodeListing? Code);
