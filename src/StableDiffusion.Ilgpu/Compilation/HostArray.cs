using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Memory that goes back to the system at once, not when the garbage collector sees fit.</summary>
internal sealed unsafe class HostArray<T>(int count) : IDisposable where T : unmanaged
{
    private readonly T* data = (T*)NativeMemory.Alloc((nuint)count, (nuint)Unsafe.SizeOf<T>());

    public Span<T> Span => new(data, count);

    public void Dispose() => NativeMemory.Free(data);
}
