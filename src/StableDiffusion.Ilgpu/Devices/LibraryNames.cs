using System.Runtime.InteropServices;
using ILGPU;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// ILGPU asks for drivers by names that only development packages provide (<c>libcuda.so</c>, <c>libOpenCL.so</c>); the drivers themselves
/// bring the versioned ones.
/// </summary>
internal static class LibraryNames
{
    private static readonly Lock Gate = new();
    private static bool done;

    /// <summary>Must run before the first context that looks for GPUs.</summary>
    public static void Resolve()
    {
        lock (Gate)
        {
            if (!done)
            {
                NativeLibrary.SetDllImportResolver(typeof(Context).Assembly, (name, _, _) => name switch
                {
                    "cuda" => Load("libcuda.so.1"),
                    "OpenCL" => Load("libOpenCL.so.1"),
                    _ => 0,
                });
                done = true;
            }
        }
    }

    /// <summary>Zero leaves the search to the runtime.</summary>
    private static nint Load(string name) => NativeLibrary.TryLoad(name, out var handle) ? handle : 0;
}
